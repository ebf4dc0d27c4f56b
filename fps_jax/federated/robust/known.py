"""What malicious clients know of a round's defence.

The seed of sketches is drawn once all shares are fixed (`examine_clients`). An
attacker is given it only where `Guard.seed_known` says so, as if it had been
drawn before: to show why it must not be.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fps_jax.attacks.knowledge import KnownDefence, KnownSeed
from fps_jax.core.types import Array
from fps_jax.federated.layout import zero_beyond
from fps_jax.federated.method import Guard, Method, Opened, RoundInput
from fps_jax.federated.robust.sketch import make_sketching
from fps_jax.sharing.sketches.range_check import RangeCheck
from fps_jax.sharing.sketches.sketch import Sketch


def know_defence(
  method: Method, guard: Guard, inputs: RoundInput, root_M: Array | None
) -> KnownDefence | None:
  """Returns what malicious clients know; None without a defence.

  `root_M` is as of `Trained`.
  """
  if guard.defence is None:
    return None
  deviation, seed = 0.0, None
  if guard.opened is not None:
    deviation = math.sqrt(2 / guard.opened.sketch.num_buckets)
    if guard.seed_known:
      seed = _know_seed(method, guard.opened, inputs, root_M)
  return KnownDefence(
    guard.defence.weigh, guard.defence.aggregate, root_M, deviation, seed
  )


def _know_seed(
  method: Method, opened: Opened, inputs: RoundInput, root_M: Array | None
) -> KnownSeed:
  """Returns what follows from the keys that servers are to sketch by."""
  sketching = make_sketching(method, opened, inputs, None)
  keep_count = inputs.plan.pruning.keep_count
  # Floats stand for words: rounding is as random as ever.
  sketch = Sketch(opened.sketch.num_buckets)
  range_check = RangeCheck(None, opened.range_check.num_sums)

  def apply_sketch(values: Array) -> Array:
    return _add_tiles(
      method,
      lambda tile, number: sketch.apply(tile, sketching.sketch_key, number),
      zero_beyond(keep_count, values),
    )

  def apply_range(values: Array) -> Array:
    return _add_tiles(
      method,
      lambda tile, number: range_check.apply(tile, sketching.range_key, number),
      zero_beyond(keep_count, values),
    )

  zeros_M = jnp.zeros(method.tiling.padded_size, jnp.float32)
  num_sums = range_check.num_sums * method.protocol.alignment
  spread_range = jax.linear_transpose(apply_range, zeros_M)
  rows_RxM = jax.vmap(lambda sums_R: spread_range(sums_R)[0])(jnp.eye(num_sums))
  if root_M is not None:
    rows_RxM = jnp.concatenate([rows_RxM, root_M[None]])
  leave = _beside(apply_sketch, zeros_M)
  # Of a row that is 0, as a root update may be, it makes another one: to be
  # orthogonal to that, too, does no harm.
  basis_MxR, _ = jnp.linalg.qr(jax.vmap(leave)(rows_RxM).T)

  def unseen(values_M: Array) -> Array:
    left_M = leave(zero_beyond(keep_count, values_M))
    along_R = jnp.matmul(basis_MxR.T, left_M, precision='highest')
    return left_M - jnp.matmul(basis_MxR, along_R, precision='highest')

  return KnownSeed(apply_sketch, unseen)


def _add_tiles(
  method: Method, make: Callable[[Array, Array], Array], values: Array
) -> Array:
  """Adds up what is made of tiles: float32 [..., M] -> [..., K]."""
  size, alignment = method.tiling.size, method.protocol.alignment
  leading, num_tiles = values.shape[:-1], values.shape[-1] // size
  tiles = values.reshape(*leading, num_tiles, size // alignment, alignment)
  # Values of a column share their draws, but not a sum.
  tiles = jnp.moveaxis(jnp.swapaxes(tiles, -1, -2), -3, 0)
  made = jax.lax.map(lambda each: make(*each), (tiles, jnp.arange(num_tiles)))
  return jnp.sum(made, axis=0).reshape(*leading, -1)


def _beside(
  sketch: Callable[[Array], Array], zeros_M: Array
) -> Callable[[Array], Array]:
  """Returns what takes from a vector the part that a sketch shows.

  A value is in one sum alone. So sums are orthogonal, and dividing by how many
  values each has is all that projecting takes.
  """
  spread = jax.linear_transpose(sketch, zeros_M)
  sums_K = sketch(zeros_M)
  counts_K = jnp.maximum(sketch(spread(jnp.ones_like(sums_K))[0]), 1.0)
  return lambda values_M: values_M - spread(sketch(values_M) / counts_K)[0]
