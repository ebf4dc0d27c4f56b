"""Tests of `fps_jax.sharing.sketches.range_check`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.sketches.range_check import RangeCheck
from fps_jax.sharing.sketches.sketch import Sketch

pytestmark = pytest.mark.slow

FIELD = PrimeField(2**22 - 3)
HALF = FIELD.modulus // 2
KEY = jax.random.key(5)


def passes(words_CxW: np.ndarray, norms_C: np.ndarray, num_sums: int = 32):
  check = RangeCheck(FIELD, num_sums)
  sums = FIELD.to_signed(check.apply(jnp.uint32(words_CxW), KEY, 0))
  return np.asarray(
    check.is_within(sums.astype(jnp.float32), jnp.float32(norms_C))
  )


def test_sums_add_subtract_or_leave_out_every_column():
  identity = np.eye(64, dtype=np.uint32)
  sums = np.asarray(FIELD.to_signed(RangeCheck(FIELD).apply(identity, KEY, 3)))
  counts = [np.mean(sums == sign) for sign in (0, 1, -1)]
  np.testing.assert_allclose(counts, [0.5, 0.25, 0.25], atol=0.04)
  other = RangeCheck(FIELD).apply(identity, KEY, 4)
  assert np.any(sums != np.asarray(FIELD.to_signed(other)))


@pytest.mark.parametrize('shape', ['normal', 'one entry', 'alike', 'none'])
def test_honest_values_pass(shape: str):
  rng = np.random.default_rng(0)
  values_CxW = {
    'normal': rng.normal(0, 50, (500, 300)).round(),
    'one entry': 127 * np.eye(300)[:200],
    'alike': np.full((1, 300), 127),
    'none': np.zeros((1, 300)),
  }[shape].astype(np.int32)
  norms_C = np.linalg.norm(values_CxW, axis=1)
  assert passes(FIELD.from_signed(jnp.int32(values_CxW)), norms_C).all()


@pytest.mark.parametrize('num_sums', [1, 2, 4])
def test_an_entry_beyond_twelve_norms_passes_as_rarely_as_promised(
  num_sums: int,
):
  """Whatever is beside it: pairs of halves, that cancel, or nothing."""
  num_keys, norm = 4000, 1000
  vectors = [[HALF, HALF], [HALF, -HALF], [HALF, 0], [13 * norm, 0], [HALF] * 8]
  keys = jax.random.split(KEY, num_keys)
  for vector in vectors:
    words_W = FIELD.from_signed(jnp.int32(vector))
    check = RangeCheck(FIELD, num_sums)
    sums = jax.vmap(lambda key, w=words_W, c=check: c.apply(w, key, 0))(keys)
    passed = check.is_within(
      FIELD.to_signed(sums).astype(jnp.float32),
      jnp.full(num_keys, norm, jnp.float32),
    )
    bound = 2.0**-num_sums
    # Four standard errors.
    slack = 4 * np.sqrt(bound * (1 - bound) / num_keys)
    assert float(jnp.mean(passed)) < bound + slack


def test_words_that_cancel_out_in_a_sketch_do_not_pass():
  """In every draw two full blocks of halves leave nothing of themselves."""
  num_buckets = 16
  values_W = np.random.default_rng(1).integers(-9, 10, 64)
  values_W[: 2 * num_buckets] = HALF
  words_W = FIELD.from_signed(jnp.int32(values_W))
  sketch = FIELD.to_signed(Sketch(num_buckets, FIELD).apply(words_W, KEY, 0))
  norm = np.linalg.norm(np.asarray(sketch, np.float64))
  assert norm < 100
  assert not passes(words_W[None], np.array([norm])).any()
