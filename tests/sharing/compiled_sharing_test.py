"""Sharing as XLA compiles it for a GPU, which need not be there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import Dealing
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from fps_jax.sharing.shamir import Shamir

pytest.importorskip('jax_cuda13_plugin')
hlo = pytest.importorskip('fps_jax.jobs.compile_for.hlo')

CODEC = Codec(PrimeField(2**31 - 1), 0.25, 8, max_clients=999, max_count=60)


@pytest.mark.parametrize('size', [(5, 3, 1), (5, 4, 2)])
@pytest.mark.parametrize('num_clients', [1, 100])
def test_sharing_moves_at_most_twice_the_bytes_that_it_must(
  size: tuple[int, int, int], num_clients: int
):
  from fps_jax.core.devices import make_mesh
  from fps_jax.jobs.compile_for import kernels, target

  mesh = make_mesh(1, target.parse('cuda:h200').devices())
  everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  scheme = Shamir(CODEC.field, *size)
  protocol = ShamirSum(CODEC, scheme, scheme.server_points)
  num_columns = 16_000

  def share(sums_NxW, words_CxM, seeds_CxZx8, ends_C):
    dealings = Dealing(seeds_CxZx8, None, None)
    return protocol.add_words(sums_NxW, words_CxM, dealings, 0, ends_C)

  sums, words, seeds, ends = (
    jax.ShapeDtypeStruct(shape, dtype, sharding=everywhere)
    for shape, dtype in (
      ((scheme.num_servers, num_columns), jnp.uint32),
      ((num_clients, num_columns * protocol.values_per_column), jnp.uint32),
      ((num_clients, scheme.num_random, 8), jnp.uint32),
      ((num_clients,), jnp.int32),
    )
  )
  compiled = (
    jax.jit(share, donate_argnums=0)
    .lower(sums, words, seeds, ends)
    .compile({'xla_gpu_autotune_level': '0'})
  )
  counted = kernels.count(hlo.parse(compiled.as_text() or ''))
  least = 4 * (np.prod(words.shape) + 2 * np.prod(sums.shape))
  assert least <= counted.bytes <= 2 * least
  assert counted.kernels <= 8
  assert not counted.unknown
