"""Tests of `fps_jax.federated.robust.weigh` without a round."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.federated.method import Opened
from fps_jax.federated.robust.sketch import Seen, inner_products
from fps_jax.federated.robust.weigh import integer_weights
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.sketches.projection import Projection
from fps_jax.sharing.sketches.range_check import RangeCheck
from fps_jax.sharing.sketches.sketch import Sketch


def test_products_are_exact_and_those_that_wrapped_are_not_sound():
  projection = Projection(1, 127, PrimeField(2**31 - 1))
  opened = Opened(Sketch(2), RangeCheck(projection.field, 1), projection)
  seen = Seen(
    sketches_CxK=jnp.float32([[3, 4], [3, 4], [3, 4]]),
    ranges_CxS=jnp.float32([[5], [5], [31]]),
    products_CxP=jnp.float32([[-250], [2600], [250]]),
  )
  # A multiple of 1 stands for 1.
  root_M = jnp.float32([127, 0, 0])
  gram, is_sound_C = inner_products(opened, seen, root_M)
  np.testing.assert_array_equal(gram[-1], [-250, 2600, 250, 127**2])
  np.testing.assert_array_equal(gram[:3, :3], 25)
  assert is_sound_C.tolist() == [True, False, False]


@pytest.mark.parametrize('most_weight', [4, 5, 100, 2**20])
def test_integer_weights_keep_their_guarantees(most_weight: int):
  """All weights in quarters of four clients."""
  compiled = jax.jit(lambda w: integer_weights(w, most_weight))
  for numbers in np.ndindex(5, 5, 5, 5):
    weights_C = np.float32(numbers) / 4
    integers_C, one = compiled(weights_C)
    integers_C = np.asarray(integers_C).astype(np.int64)
    assert integers_C.sum() <= most_weight
    np.testing.assert_array_equal(integers_C[weights_C == 0], 0)
    if not weights_C.any():
      continue
    exact_C = weights_C / weights_C.sum() * most_weight
    assert np.all(integers_C > exact_C - 1)
    for weight in np.unique(weights_C):
      assert len(np.unique(integers_C[weights_C == weight])) == 1
    # Divided by what stands for 1, they add up to what the weights did.
    np.testing.assert_allclose(
      integers_C.sum() / one, weights_C.sum(), rtol=1e-6
    )


def test_equal_weights_use_all_there_is():
  integers_C, _ = integer_weights(jnp.full(100, 0.01), 100)
  np.testing.assert_array_equal(integers_C, 1)
