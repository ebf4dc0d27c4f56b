"""What a machine can do at best, measured on all devices at once."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fps_jax.core.devices import CLIENT_AXES
from fps_jax.core.types import Array
from fps_jax.jobs.timing import measure

_SIDE = 1024  # of square matrices
_PRODUCTS = 8  # in a call
_COPIED_BYTES = 64 * 2**20  # on each device


def matmul_flops_per_second(mesh: Mesh, repeats: int) -> float:
  """Returns the speed of products of float32 matrices, at JAX's precision.

  Args:
    mesh: all its devices multiply, each its own matrices.
    repeats: calls of which the median is taken, at least 1.
  """

  def multiply(a: Array) -> Array:
    return functools.reduce(lambda b, _: a @ b, range(_PRODUCTS), a)

  scale = _SIDE**-0.5  # Keeps the values finite and normal.
  seconds = _seconds(mesh, multiply, (_SIDE, _SIDE), scale, repeats)
  return mesh.size * _PRODUCTS * 2 * _SIDE**3 / seconds


def copy_bytes_per_second(mesh: Mesh, repeats: int) -> float:
  """Returns bytes read and written a second by a pass over 64 MiB a device.

  Args:
    mesh: all its devices copy, each its own array.
    repeats: calls of which the median is taken, at least 1.
  """
  shape = (_COPIED_BYTES // 4, 1)
  seconds = _seconds(mesh, lambda a: a + 1, shape, 0.0, repeats)
  return mesh.size * 2 * _COPIED_BYTES / seconds


def _seconds(
  mesh: Mesh,
  function: Callable[[Array], Array],
  shape: tuple[int, int],
  fill: float,
  repeats: int,
) -> float:
  """Returns the time that all devices take, each with an array of its own."""
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

  def once() -> Any:
    nonlocal array
    array = call(array)
    return array

  return measure(once, repeats).seconds
