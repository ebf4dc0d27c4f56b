"""Tests of `fps_jax.sharing.on_gpu`, interpreted on a CPU."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing import on_gpu, randomness
from fps_jax.sharing.field import PrimeField

KEYS_CxZx8 = np.random.default_rng(0).integers(
  2**32, size=(35, 2, 8), dtype=np.uint32
)


@functools.partial(jax.jit, static_argnums=(3, 4))
def in_one_kernel(keys_CxZx8, ends_C, first_word, num_words, prime):
  return on_gpu.uniform_sums(
    keys_CxZx8,
    ends_C,
    jnp.uint32(first_word),
    num_words,
    PrimeField(prime),
    interpret=True,
  )


@functools.partial(jax.jit, static_argnums=(2, 3))
def one_by_one(keys_CxZx8, first_word, num_words, prime):
  field = PrimeField(prime)
  return jax.vmap(
    lambda keys_Zx8: randomness.uniform(keys_Zx8, first_word, num_words, field)
  )(keys_CxZx8)


# Of 5, three of eight words are drawn again; of 2^31 - 1, none in a lifetime.
@pytest.mark.parametrize(
  ('prime', 'num_words'),
  [(2, 16), (5, 1040), (11, 1), (2**22 - 3, 1040), (2**31 - 1, 100)],
)
def test_kernel_draws_the_words_of_the_stream(prime: int, num_words: int):
  keys, ends = KEYS_CxZx8[:1], np.int32([num_words])
  np.testing.assert_array_equal(
    in_one_kernel(keys, ends, 48, num_words, prime),
    one_by_one(keys, 48, num_words, prime)[0],
  )


@pytest.mark.slow
@pytest.mark.parametrize('prime', [5, 2**31 - 1])
def test_kernel_adds_up_what_counts_of_each_client(prime: int):
  # More clients than a program adds up, some of whom add nothing.
  ends_C = np.random.default_rng(1).integers(-3, 101, 35, np.int32)
  words = np.asarray(one_by_one(KEYS_CxZx8, 32, 100, prime)).astype(np.uint64)
  words *= (np.arange(100) < ends_C[:, None])[:, None]
  added = in_one_kernel(KEYS_CxZx8, ends_C, 32, 100, prime)
  np.testing.assert_array_equal(added, words.sum(axis=0) % prime)
  # What other devices run.
  np.testing.assert_array_equal(
    randomness.uniform_sums(KEYS_CxZx8, ends_C, 32, 100, PrimeField(prime)),
    added,
  )


@pytest.mark.slow
def test_kernel_may_be_vmapped():
  ends = np.full((3, 1), 16, np.int32)
  words = jax.vmap(lambda keys, ends: in_one_kernel(keys, ends, 0, 16, 7))(
    KEYS_CxZx8[:3, None], ends
  )
  np.testing.assert_array_equal(words, one_by_one(KEYS_CxZx8[:3], 0, 16, 7))


@pytest.mark.parametrize('capabilities', [[], ['9.0'], ['8.0', '7.5']])
def test_kernel_is_for_gpus_that_triton_is_for(
  monkeypatch: pytest.MonkeyPatch, capabilities: list[str]
):
  def local_devices(backend: str):
    assert backend == 'cuda'
    if not capabilities:
      raise RuntimeError('no such backend')
    return [SimpleNamespace(compute_capability=each) for each in capabilities]

  def chosen(x: jax.Array) -> jax.Array:
    return on_gpu.where_it_compiles(jnp.negative, lambda x: x + 1, x)

  monkeypatch.setattr(jax, 'local_devices', local_devices)
  for platform in ('cuda', 'tpu'):
    lowered = (
      jax.jit(chosen).trace(jnp.ones(2)).lower(lowering_platforms=(platform,))
    )
    uses_kernel = platform == 'cuda' and '7.5' not in capabilities
    assert ('stablehlo.negate' in lowered.as_text()) is uses_kernel
