"""Tests of `fps_jax.models.dense` against matrix products and flax.linen."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fps_jax.core.environment import cpu_model
from fps_jax.core.types import Examples
from fps_jax.federated import optimizers
from fps_jax.federated.client import ClientWork, make_local_update
from fps_jax.models.dense import (
  MAX_EXAMPLES,
  Dense,
  is_fused,
  multiply,
  sum_outer_products,
)
from fps_jax.models.layers import he_normal

BATCH, INPUTS, OUTPUTS = 6, 24, 64
BATCHES = np.int32(
  [range(BATCH), [-1] * BATCH, [7, -1, 6, 2, -1, 1], range(6, 12)]
)
SHAPES = [
  *((batch, 12, 32) for batch in (1, 2, 3, 5, 10, MAX_EXAMPLES, 17, 64)),
  *((10, 7, outputs) for outputs in (8, 10, 40, 62, 200, 816, 824)),
  (5, 1, 64),
]
all_shapes = pytest.mark.parametrize('shape', SHAPES, ids=str)


def normal(seed: int, *shape: int) -> jax.Array:
  return jax.random.normal(jax.random.key(seed), shape)


def assert_same(actual: Any, expected: Any) -> None:
  """Holds trees to the same bits, where products are added in one rounding."""
  if 'avx2' in cpu_model():
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
  else:
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
      actual,
      expected,
    )


@all_shapes
def test_values_and_gradients_are_those_of_the_matrix_product(shape):
  batch, inputs, outputs = shape
  x, kernel = normal(0, batch, inputs), normal(1, inputs, outputs)
  weights = normal(2, batch, outputs)

  def of(product):
    def loss(x, kernel):
      y = product(x, kernel)
      return jnp.sum(weights * y), y

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)

  (_, y), gradients = of(multiply)
  (_, expected), expected_gradients = of(jnp.matmul)
  assert_same((y, gradients), (expected, expected_gradients))
  np.testing.assert_allclose(
    gradients[1], np.asarray(x).T @ np.asarray(weights), rtol=1e-4, atol=1e-4
  )


def test_gradients_of_gradients_are_those_of_the_matrix_product():
  # Whoever inverts gradients differentiates them.
  x, kernel = normal(0, BATCH, INPUTS), normal(1, INPUTS, OUTPUTS)

  def of(product):
    def loss(kernel, x):
      return jnp.sum(jnp.tanh(product(x, kernel)) ** 2)

    def distance(x):
      return jnp.sum(jax.grad(loss)(kernel, x) ** 2)

    return jax.jit(jax.grad(distance))(x)

  np.testing.assert_allclose(of(multiply), of(jnp.matmul), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize('axes', [(0, 0), (None, 0), (0, None)])
def test_vmapped_it_is_a_matrix_product(axes):
  x = normal(0, *(3,) * (axes[0] == 0), BATCH, INPUTS)
  y = normal(1, *(3,) * (axes[1] == 0), BATCH, OUTPUTS)
  batched = jax.jit(jax.vmap(sum_outer_products, axes))
  np.testing.assert_allclose(
    batched(x, y), jax.vmap(lambda x, y: x.T @ y, axes)(x, y), rtol=1e-5
  )
  assert 'dot(' in batched.lower(x, y).compile().as_text()


@all_shapes
def test_sums_are_chosen_by_shape_and_for_processors_alone(shape):
  batch, rows, columns = shape
  x, y = normal(0, batch, rows), normal(1, batch, columns)
  traced = jax.jit(sum_outer_products).trace(x, y)

  def has_product(platform: str) -> bool:
    lowered = traced.lower(lowering_platforms=(platform,))
    return 'dot_general' in lowered.as_text()

  assert has_product('cpu') != is_fused(batch, columns)
  assert has_product('cuda')
  assert has_product('tpu')


def test_shapes_of_both_kinds_are_tested():
  chosen = {is_fused(batch, outputs) for batch, _, outputs in SHAPES}
  assert chosen == {True, False}


class Plain(nn.Module):
  """A model of flax's own layers."""

  layer: Any = functools.partial(nn.Dense, kernel_init=he_normal)

  @nn.compact
  def __call__(self, x):
    """Maps [B, inputs] to logits [B, 10]."""
    for name in ('first', 'second'):
      x = nn.relu(self.layer(OUTPUTS, name=name)(x))
    return self.layer(10, name='output')(x)


OURS = Plain(Dense)


def training(model, optimizer, is_masked=False, proximal=0.0):
  """Returns compiled local training, and its arguments."""
  inputs = normal(0, 2 * BATCH, INPUTS)
  params = model.init(jax.random.key(1), inputs)
  mask = None
  if is_masked:
    mask = jax.tree.map(lambda w: normal(2, *w.shape) > 0, params)
    params = jax.tree.map(lambda w, kept: jnp.where(kept, w, 0), params, mask)
  examples = Examples(inputs, jnp.arange(2 * BATCH) % 10)
  work = ClientWork(jnp.asarray(BATCHES), jnp.int32(len(BATCHES)))
  update = make_local_update(model.apply, optimizer, proximal)
  arguments = params, mask, examples, work
  return jax.jit(update).lower(*arguments).compile(), arguments


def train(*settings):
  update, arguments = training(*settings)
  return update(*arguments)


@pytest.mark.parametrize('is_masked', [False, True], ids=['dense', 'masked'])
@pytest.mark.parametrize(
  ('momentum', 'proximal', 'weight_decay'),
  [(0.0, 0.0, 0.0), (0.9, 0.0, 0.0), (0.0, 0.1, 0.0), (0.9, 0.1, 0.01)],
)
def test_training_is_that_of_plain_layers(
  momentum, proximal, weight_decay, is_masked
):
  optimizer = optimizers.sgd(0.1, momentum, weight_decay)
  ours = train(OURS, optimizer, is_masked, proximal)
  assert_same(ours, train(Plain(), optimizer, is_masked, proximal))
  assert all(np.any(leaf) for leaf in jax.tree.leaves(ours.delta))


@pytest.mark.slow
@pytest.mark.parametrize('name', optimizers.OPTIMIZERS)
def test_training_by_every_optimiser_is_that_of_plain_layers(name):
  optimizer = optimizers.make(name, 0.01, {})
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    train(OURS, optimizer, True),
    train(Plain(), optimizer, True),
  )


@pytest.mark.parametrize('is_masked', [False, True], ids=['dense', 'masked'])
@pytest.mark.parametrize('momentum', [0.0, 0.9])
def test_a_step_writes_weights_and_momentum_once(momentum, is_masked):
  def written(model) -> list[str]:
    """Returns what has the shape of the first layer's weights, in a step."""
    update, _ = training(model, optimizers.sgd(0.1, momentum), is_masked)
    return re.findall(
      rf'%\S+ = f32\[{INPUTS},{OUTPUTS}\]\S* (fusion|dot|copy)\([^\n]*'
      r'jit\(local_update\)/while/body',
      update.as_text(),
    )

  in_place = ['fusion'] * (2 if momentum else 1)
  assert written(OURS) == in_place
  assert written(Plain()) == ['dot', *in_place]
