"""What clients' devices can do: a few distributions, drawn once for a run.

The numbers are of the order of phones and laptops on mobile and home networks.
They are assumptions of a simulation, not measurements; every one of them is an
argument of the config's `profiles.args`.

Clients of each distribution:

- `same`: all alike;
- `three_classes`: a third each slow, medium and fast, at random;
- `lognormal`: computing and links log-normal, independent of each other; one
  draw for both directions of a link.

On top of that, what a client has left of its computing and of its link changes
from round to round, by factors exp(s z) with z standard normal.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fps_jax.core.registry import Registry
from fps_jax.core.rng import Stream, host_generator


class Profile(NamedTuple):
  """What devices can do; arrays float64 [clients], all positive.

  Attributes:
    flops_per_second: floating-point operations of training.
    download_bits_per_second: from the central server.
    upload_bits_per_second: to all servers together.
  """

  flops_per_second: np.ndarray
  download_bits_per_second: np.ndarray
  upload_bits_per_second: np.ndarray


def _profile(
  gflops: ArrayLike,
  download_mbits: ArrayLike,
  upload_mbits: ArrayLike,
  computing: ArrayLike = 1.0,
  link: ArrayLike = 1.0,
) -> Profile:
  """Returns speeds per second, times what each client has of them."""
  return Profile(
    np.multiply(gflops, 1e9) * computing,
    np.multiply(download_mbits, 1e6) * link,
    np.multiply(upload_mbits, 1e6) * link,
  )


def same(
  generator: np.random.Generator,
  num_clients: int,
  gflops: float,
  download_mbits: float,
  upload_mbits: float,
) -> Profile:
  """Returns clients that are all alike; speeds per second."""
  del generator  # Nothing is drawn.
  everyone = np.ones(num_clients)
  return _profile(gflops, download_mbits, upload_mbits, everyone, everyone)


def three_classes(
  generator: np.random.Generator,
  num_clients: int,
  gflops: tuple[float, ...],
  download_mbits: tuple[float, ...],
  upload_mbits: tuple[float, ...],
) -> Profile:
  """Returns a third of the clients in each class; speeds per second."""
  classes = generator.permutation(np.arange(num_clients) % 3)
  speeds = (gflops, download_mbits, upload_mbits)
  return _profile(*(np.array(of_classes)[classes] for of_classes in speeds))


def lognormal(
  generator: np.random.Generator,
  num_clients: int,
  gflops: float,
  download_mbits: float,
  upload_mbits: float,
  sigma: float,
) -> Profile:
  """Returns log-normal clients; speeds per second are medians."""
  factors = np.exp(sigma * generator.normal(size=(2, num_clients)))
  return _profile(gflops, download_mbits, upload_mbits, *factors)


DISTRIBUTIONS: Registry[Profile] = Registry(
  'distribution',
  {
    'same': same,
    'three_classes': three_classes,
    'lognormal': lognormal,
  },
  num_first=2,
)


@dataclasses.dataclass(frozen=True)
class Fleet:
  """All clients' devices in a run.

  Guarantee: a client's profile depends on (seed, round, client) alone.

  Attributes:
    usual: the profile of every client.
    seed: the run's seed.
    round_sigma: s, of the change from round to round; 0 for none.
  """

  usual: Profile
  seed: int
  round_sigma: float

  @classmethod
  def draw(
    cls,
    distribution: str,
    arguments: Mapping[str, Any],
    num_clients: int,
    seed: int,
    round_sigma: float,
  ) -> 'Fleet':
    """Draws every client's device.

    Args:
      distribution: a key of `DISTRIBUTIONS`.
      arguments: of that distribution.
      num_clients: how many.
      seed: the run's seed.
      round_sigma: at least 0.
    """
    generator = host_generator(seed, Stream.PROFILE)
    usual = DISTRIBUTIONS[distribution](generator, num_clients, **arguments)
    return cls(usual, seed, round_sigma)

  def in_round(self, round_number: int, client_ids: np.ndarray) -> Profile:
    """Returns what some clients can do in a round, counted from 0."""
    generator = host_generator(self.seed, Stream.PROFILE_CHANGE, round_number)
    shape = (2, len(self.usual.flops_per_second))
    factors = np.exp(self.round_sigma * generator.normal(size=shape))
    computing, link = factors[:, client_ids]
    flops, download, upload = (speeds[client_ids] for speeds in self.usual)
    return Profile(flops * computing, download * link, upload * link)


def check(
  distribution: str, arguments: Mapping[str, Any], round_sigma: float
) -> None:
  """Checks the settings of a fleet.

  Raises:
    ValueError: if the distribution is unknown, or a number out of range.
  """
  if distribution not in DISTRIBUTIONS:
    raise ValueError(
      f'distribution={distribution!r} is not one of {sorted(DISTRIBUTIONS)}'
    )
  if not 0 <= round_sigma < np.inf:
    raise ValueError(f'round_sigma={round_sigma} must be finite and at least 0')
  for name, value in arguments.items():
    values = np.atleast_1d(value)
    if distribution == 'three_classes' and len(values) != 3:
      raise ValueError(f'{name}={value} must be three numbers, one a class')
    if not np.all(np.isfinite(values) & (values > 0)):
      raise ValueError(f'{name}={value} must be finite and above 0')
