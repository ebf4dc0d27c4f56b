"""What a machine can do at best, measured on all devices at once."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fps_jax.core.devices import CLIENT_AXES
from fps_jax.core.types import Array
from fps_jax.jobs.timing import measure

_SIDE = 1024  # of square matrices
_PRODUCTS = 8  # in a call
_COPIED_BYTES = 64 * 2**20  # on each device


def measure_peaks(mesh: Mesh, repeats: int = 5) -> dict[str, float]:
  """Returns the best that devices do, each on arrays of its own.

  Args:
    mesh: of the devices.
    repeats: calls of which the median is taken, at least 1.

  Returns:
    Of all devices together, a second: `matmul_gigaflops` of products of float32
    matrices, at JAX's precision, and `copy_gigabytes`, read and written by a
    pass over 64 MiB a device.
  """

  def multiply(a: Array) -> Array:
    return functools.reduce(lambda b, _: a @ b, range(_PRODUCTS), a)

  scale = _SIDE**-0.5  # Keeps the values finite and normal.
  multiplying = _seconds(mesh, multiply, (_SIDE, _SIDE), scale, repeats)
  words = (_COPIED_BYTES // 4, 1)
  copying = _seconds(mesh, lambda a: a + 1, words, 0.0, repeats)
  return {
    'matmul_gigaflops': mesh.size
    * _PRODUCTS
    * 2
    * _SIDE**3
    / multiplying
    / 1e9,
    'copy_gigabytes': mesh.size * 2 * _COPIED_BYTES / copying / 1e9,
  }


def _seconds(
  mesh: Mesh,
  function: Callable[[Array], Array],
  shape: tuple[int, int],
  fill: float,
  repeats: int,
) -> float:
  split = PartitionSpec(CLIENT_AXES)
  # Donated and returned, so that no new memory is mapped.
  call = jax.jit(
    jax.shard_map(function, mesh=mesh, in_specs=split, out_specs=split),
    donate_argnums=0,
  )
  make = functools.partial(
    jnp.full, (mesh.size * shape[0], shape[1]), fill, jnp.float32
  )
  array = jax.jit(make, out_shardings=NamedSharding(mesh, split))()

  def once() -> Array:
    nonlocal array
    array = call(array)
    return array

  return measure(once, repeats).seconds
