"""What the central server makes of a sum that is not to tell of any client."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array, PlanArray
from fps_jax.federated.collection import Collected
from fps_jax.federated.mesh import Call
from fps_jax.federated.method import Method, RoundInput
from fps_jax.privacy.central import CentralPrivacy
from fps_jax.privacy.distributed import DistributedPrivacy, Privacy


class Mean(NamedTuple):
  """What of a sum is used.

  Attributes:
    update_M: float32 [M], the mean update, with noise.
    clip: float32 [], the bound of the next round.
    contributors_T: int32 [1], clients of the sum; 0 where it is not opened.
  """

  update_M: Array
  clip: Array
  contributors_T: Array


class Release:
  """Opens sums and adds noise to them, before anything is made of them.

  Guarantee: of the same sums and key it makes the same, bit for bit, whatever
  they were opened from. So opening, noise and mean are a program each: in one,
  XLA would round as it fuses.
  """

  def __init__(self, method: Method, privacy: Privacy) -> None:
    """Takes the parts of a round, and who adds noise."""
    self._method, self._privacy = method, privacy
    self._open = jax.jit(self._open_sum)
    self._noise = jax.jit(self._draw_noise)
    self._mean = jax.jit(self._average)

  def __call__(
    self, inputs: RoundInput, collected: Collected, opening: PlanArray
  ) -> Collected:
    """Returns what the next step goes by, its mean update known."""

    def call(program: Any, *arguments: Any) -> Any:
      return program(*arguments)

    return self._release(inputs, collected, opening, call)

  def programs(
    self, inputs: RoundInput, collected: Collected
  ) -> tuple[tuple[Call, ...], Collected]:
    """Returns the programs that are called, and the shapes of the result."""
    calls: list[Call] = []

    def note(program: Any, *arguments: Any) -> Any:
      calls.append((program, arguments))
      return jax.eval_shape(program, *arguments)

    released = self._release(inputs, collected, inputs.plan.opening, note)
    return tuple(calls), released

  def _release(
    self,
    inputs: RoundInput,
    collected: Collected,
    opening: PlanArray,
    call: Callable[..., Any],
  ) -> Collected:
    clip, key_8 = inputs.state.clip, inputs.plan.noise_8
    count_at = self._method.counts_at(inputs.plan.pruning)[0]
    opened = call(self._open, collected.sums.held, opening, count_at)
    noise_M = None
    if isinstance(self._privacy, CentralPrivacy):
      noise_M = call(self._noise, clip, count_at, key_8)
    mean = call(self._mean, *opened, noise_M, clip, count_at, key_8)
    return collected._replace(
      sums=collected.sums._replace(contributors_T=mean.contributors_T),
      update_M=mean.update_M,
      clip=mean.clip,
    )

  def _open_sum(
    self, held: Array, opening: PlanArray, count_at: Array
  ) -> tuple[Array, Array]:
    protocol = self._method.protocol
    opened_M = protocol.open(held, opening)
    return protocol.decode(opened_M), protocol.decode_count(opened_M[count_at])

  def _draw_noise(self, clip: Array, num_values: Array, key_8: Array) -> Array:
    assert isinstance(self._privacy, CentralPrivacy)
    size = self._method.tiling.padded_size
    return self._privacy.noise(clip, num_values, key_8, size)

  def _average(
    self,
    sum_M: Array,
    count: Array,
    noise_M: Array | None,
    clip: Array,
    num_values: Array,
    key_8: Array,
  ) -> Mean:
    privacy = self._privacy
    if isinstance(privacy, DistributedPrivacy):
      sum_M = privacy.gather(sum_M, num_values, key_8)
      return Mean(
        privacy.mean(sum_M, clip),
        privacy.next_clip(clip, sum_M, num_values, count),
        count.astype(jnp.int32)[None],
      )
    assert noise_M is not None
    return Mean(
      (sum_M + noise_M) / privacy.cohort_size,
      privacy.next_clip(clip, count, key_8),
      privacy.num_clients(count)[None],
    )


def make_release(method: Method) -> Release | None:
  """Returns what sums go through; None where they are used as they are."""
  privacy = method.terms.privacy
  return None if privacy is None else Release(method, privacy)
