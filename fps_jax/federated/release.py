"""What the central server makes of a sum that is not to tell of any client."""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from fps_jax.core.types import Array, PlanArray
from fps_jax.federated.collection import Collected
from fps_jax.federated.mesh import Call
from fps_jax.federated.method import Method, RoundInput
from fps_jax.privacy.central import CentralPrivacy
from fps_jax.privacy.distributed import DistributedPrivacy


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


class Release(Protocol):
  """Opens sums and adds noise to them, before anything is made of them."""

  def __call__(
    self, inputs: RoundInput, collected: Collected, opening: PlanArray
  ) -> Collected:
    """Returns what the next step goes by, its mean update known."""

  def programs(
    self, inputs: RoundInput, collected: Collected
  ) -> tuple[tuple[Call, ...], Collected]:
    """Returns the programs that are called, and the shapes of the result."""


class _Opening:
  """What opens sums, in a program of its own."""

  def __init__(self, method: Method) -> None:
    self._method = method
    self._open = jax.jit(self._open_sum)

  def _open_sum(
    self, held: Array, opening: PlanArray, count_at: Array
  ) -> tuple[Array, Array]:
    protocol = self._method.protocol
    opened_M = protocol.open(held, opening)
    return protocol.decode(opened_M), protocol.decode_count(opened_M[count_at])


class CentralRelease(_Opening):
  """A `Release` by the central server.

  Guarantee: of the same sums and key it makes the same, bit for bit, whatever
  they were opened from. So opening, noise and mean are a program each: in one,
  XLA would round as it fuses.
  """

  def __init__(self, method: Method) -> None:
    """Takes the parts of a round, whose privacy is the central server's."""
    assert isinstance(method.terms.privacy, CentralPrivacy)
    super().__init__(method)
    self._privacy = method.terms.privacy
    self._noise = jax.jit(self._draw)
    self._mean = jax.jit(self._average)

  def __call__(
    self, inputs: RoundInput, collected: Collected, opening: PlanArray
  ) -> Collected:
    """Returns what `Release` does."""
    state, plan = inputs.state, inputs.plan
    count_at = self._method.counts_at(plan.pruning)[0]
    sum_M, count = self._open(collected.sums.held, opening, count_at)
    noise_M = self._noise(state.clip, count_at, plan.noise_8)
    mean = self._mean(sum_M, noise_M, count, state.clip, plan.noise_8)
    return _with(collected, mean)

  def programs(
    self, inputs: RoundInput, collected: Collected
  ) -> tuple[tuple[Call, ...], Collected]:
    """Returns what `Release` does."""
    state, plan = inputs.state, inputs.plan
    count_at = self._method.counts_at(plan.pruning)[0]
    opened = (collected.sums.held, plan.opening, count_at)
    sum_M, count = jax.eval_shape(self._open, *opened)
    drawn = (state.clip, count_at, plan.noise_8)
    averaged = (sum_M, sum_M, count, state.clip, plan.noise_8)
    calls = ((self._open, opened), (self._noise, drawn), (self._mean, averaged))
    return calls, _with(collected, jax.eval_shape(self._mean, *averaged))

  def _draw(self, clip: Array, num_values: Array, key_8: Array) -> Array:
    size = self._method.tiling.padded_size
    return self._privacy.noise(clip, num_values, key_8, size)

  def _average(
    self, sum_M: Array, noise_M: Array, count: Array, clip: Array, key_8: Array
  ) -> Mean:
    num_clients = self._privacy.num_clients(count)
    return Mean(
      (sum_M + noise_M) / self._privacy.cohort_size,
      self._privacy.next_clip(clip, count, key_8),
      num_clients[None],
    )


class DistributedRelease(_Opening):
  """A `Release` of sums that have the noise of clients.

  Guarantee: as of `CentralRelease`.
  """

  def __init__(self, method: Method) -> None:
    """Takes the parts of a round, whose privacy is distributed."""
    assert isinstance(method.terms.privacy, DistributedPrivacy)
    super().__init__(method)
    self._privacy = method.terms.privacy
    self._mean = jax.jit(self._average)

  def __call__(
    self, inputs: RoundInput, collected: Collected, opening: PlanArray
  ) -> Collected:
    """Returns what `Release` does."""
    state, plan = inputs.state, inputs.plan
    count_at = self._method.counts_at(plan.pruning)[0]
    sum_M, count = self._open(collected.sums.held, opening, count_at)
    mean = self._mean(sum_M, count, state.clip, count_at, plan.noise_8)
    return _with(collected, mean)

  def programs(
    self, inputs: RoundInput, collected: Collected
  ) -> tuple[tuple[Call, ...], Collected]:
    """Returns what `Release` does."""
    state, plan = inputs.state, inputs.plan
    count_at = self._method.counts_at(plan.pruning)[0]
    opened = (collected.sums.held, plan.opening, count_at)
    sum_M, count = jax.eval_shape(self._open, *opened)
    averaged = (sum_M, count, state.clip, count_at, plan.noise_8)
    calls = ((self._open, opened), (self._mean, averaged))
    return calls, _with(collected, jax.eval_shape(self._mean, *averaged))

  def _average(
    self, sum_M: Array, count: Array, clip: Array, count_at: Array, key_8: Array
  ) -> Mean:
    return Mean(
      self._privacy.mean(sum_M, clip, count_at, key_8),
      clip,
      count.astype(jnp.int32)[None],
    )


def _with(collected: Collected, mean: Mean) -> Collected:
  return collected._replace(
    sums=collected.sums._replace(contributors_T=mean.contributors_T),
    update_M=mean.update_M,
    clip=mean.clip,
  )


def make_release(method: Method) -> Release | None:
  """Returns what sums go through; None where they are used as they are."""
  if method.terms.privacy is None:
    return None
  if isinstance(method.terms.privacy, DistributedPrivacy):
    return DistributedRelease(method)
  return CentralRelease(method)
