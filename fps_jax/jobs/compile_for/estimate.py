"""Seconds of a round, of what is launched, computed and moved: an estimate.

It is for choosing between devices and settings, not for a schedule: what is
assumed stands beside every figure.
"""

from typing import NamedTuple

from fps_jax.core.accelerators import Accelerator

# By platform. Of a GPU a small kernel; of a TPU a whole program.
_LAUNCH_MICROSECONDS = {'cuda': 3.0, 'tpu': 50.0}
# Until the host has read back whether a loop goes on. A TPU decides by itself.
_CONDITION_MICROSECONDS = {'cuda': 15.0, 'tpu': 0.0}


class Assumptions(NamedTuple):
  """What an estimate goes by.

  Attributes:
    microseconds_per_launch: of what the host launches, one after another.
    microseconds_per_condition: of each turn of a loop whose number of turns
      the program does not know.
    flops_per_second: the published peak, which training does not reach.
    bytes_per_second: of memory, the published peak.
  """

  microseconds_per_launch: float
  microseconds_per_condition: float
  flops_per_second: float
  bytes_per_second: float

  @classmethod
  def of(cls, platform: str, accelerator: Accelerator) -> 'Assumptions':
    """Returns those of a device; `platform` is cuda or tpu."""
    return cls(
      _LAUNCH_MICROSECONDS[platform],
      _CONDITION_MICROSECONDS[platform],
      accelerator.flops_per_second,
      accelerator.bytes_per_second,
    )

  def text(self, platform: str) -> str:
    """Returns them for people to read."""
    launch = f'{self.microseconds_per_launch:g} us to launch a '
    if platform == 'cuda':
      launch += (
        f'kernel, {self.microseconds_per_condition:g} us to read back whether '
        'a loop goes on'
      )
    else:
      launch += 'program'
    return (
      f'Assumed for the estimate: {launch}; the published peaks of '
      f'{self.flops_per_second / 1e12:g} TFLOP/s and '
      f'{self.bytes_per_second / 1e12:g} TB/s; nothing for collectives.'
    )


class Seconds(NamedTuple):
  """An estimate of a round.

  Attributes:
    launch: of the host, launching.
    compute: of the operations on numbers.
    memory: of the bytes.
  """

  launch: float
  compute: float
  memory: float

  @classmethod
  def of(
    cls,
    assumed: Assumptions,
    launches: int,
    conditions: int,
    flops: float,
    moved_bytes: int,
  ) -> 'Seconds':
    """Returns it, of what a device does in a round.

    Args:
      assumed: of the device.
      launches: by the host.
      conditions: that it reads back.
      flops: operations.
      moved_bytes: to and from memory.
    """
    microseconds = (
      launches * assumed.microseconds_per_launch
      + conditions * assumed.microseconds_per_condition
    )
    return cls(
      microseconds / 1e6,
      flops / assumed.flops_per_second,
      moved_bytes / assumed.bytes_per_second,
    )

  @property
  def total(self) -> float:
    """Launching, then computing and moving at the same time."""
    return self.launch + max(self.compute, self.memory)
