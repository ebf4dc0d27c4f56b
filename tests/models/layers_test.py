"""Tests of `fps_jax.models.layers` against flax.linen and lax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fps_jax.models import winograd
from fps_jax.models.layers import Conv, GroupNorm, extract_patches, max_pool

CLIENTS = 3


def normal(seed: int, *shape: int) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def both_convolutions(size: int, stride: int, use_bias: bool = True):
  """Returns our layer and flax's, each as (params, x) -> y."""
  ours = Conv(5, size, stride, use_bias=use_bias)
  flax = nn.Conv(
    5, (size, size), (stride, stride), padding='SAME', use_bias=use_bias
  )
  return tuple(
    lambda params, x, layer=layer: layer.apply({'params': params}, x)
    for layer in (ours, flax)
  )


def conv_params(
  size: int, *clients: int, channels: int = 2
) -> dict[str, np.ndarray]:
  return {
    'kernel': normal(1, *clients, size, size, channels, 5),
    'bias': normal(2, *clients, 5),
  }


def assert_trees_close(actual, expected):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5),
    actual,
    expected,
  )


# Odd and even sides; an image that the kernel sticks out of; a stride that
# skips pixels.
convolutions = pytest.mark.parametrize(
  ('size', 'stride', 'height', 'width'),
  [
    *((size, stride, 7, 6) for size in (1, 3, 5) for stride in (1, 2)),
    (5, 1, 3, 2),
    (3, 2, 4, 1),
    (2, 2, 5, 6),
    (1, 3, 6, 7),
  ],
)


def assert_conv_equals_flax(
  size: int, stride: int, height: int, width: int, channels: int
):
  ours, flax = both_convolutions(size, stride)
  x = normal(3, 2, height, width, channels)
  weights = normal(4, 2, -(-height // stride), -(-width // stride), 5)

  def weighted_sum(params, x, apply):
    y = apply(params, x)
    return jnp.sum(y * weights), y

  @jax.jit
  def compare(params, x):
    gradient = jax.grad(weighted_sum, (0, 1), has_aux=True)
    return gradient(params, x, ours), gradient(params, x, flax)

  actual, expected = compare(conv_params(size, channels=channels), x)
  assert actual[1].shape == weights.shape
  assert_trees_close(actual, expected)


@convolutions
def test_conv_of_few_channels_equals_flax_in_values_and_gradients(
  size: int, stride: int, height: int, width: int
):
  assert_conv_equals_flax(size, stride, height, width, 2)


@convolutions
def test_conv_by_patches_equals_flax_in_values_and_gradients(
  monkeypatch, size: int, stride: int, height: int, width: int
):
  # As on accelerators.
  monkeypatch.setattr(winograd, 'SIZES', ())
  assert_conv_equals_flax(size, stride, height, width, 8)


@pytest.mark.parametrize('use_bias', [True, False])
def test_conv_has_the_parameters_of_flax(use_bias: bool):
  x = jnp.zeros((1, 4, 4, 2))
  shapes = [
    jax.eval_shape(layer.init, jax.random.key(0), x)
    for layer in (
      Conv(5, 3, use_bias=use_bias),
      nn.Conv(5, (3, 3), use_bias=use_bias),
    )
  ]
  assert shapes[0] == shapes[1]


def test_conv_without_bias_equals_flax():
  ours, flax = both_convolutions(3, 1, use_bias=False)
  params, x = {'kernel': conv_params(3)['kernel']}, normal(3, 2, 5, 4, 2)
  assert_trees_close(jax.jit(ours)(params, x), flax(params, x))


def test_conv_initialises_with_he_normal():
  init = jax.jit(Conv(64, 3).init)
  params = init(jax.random.key(0), jnp.zeros((1, 4, 4, 32)))
  kernel = np.asarray(params['params']['kernel'])
  np.testing.assert_allclose(kernel.std(), (2 / (9 * 32)) ** 0.5, rtol=0.03)
  assert not np.any(params['params']['bias'])


def test_patches_have_rows_slowest_and_channels_fastest():
  x = np.arange(2 * 3 * 3 * 2, dtype=np.float32).reshape(2, 3, 3, 2)
  patches = extract_patches(jnp.asarray(x), size=3, stride=1)
  assert patches.shape == (2, 3, 3, 18)
  np.testing.assert_array_equal(patches[:, 1, 1], x.reshape(2, 18))
  corner = np.zeros((2, 3, 3, 2), np.float32)
  corner[:, 1:, 1:] = x[:, :2, :2]
  np.testing.assert_array_equal(patches[:, 0, 0], corner.reshape(2, 18))


@pytest.mark.parametrize(('size', 'stride'), [(3, 1), (5, 2)])
def test_conv_under_vmap_over_kernels_equals_a_loop(size: int, stride: int):
  ours, flax = both_convolutions(size, stride)
  params = conv_params(size, CLIENTS)
  x = normal(3, CLIENTS, 2, 7, 6, 2)
  actual = jax.jit(jax.vmap(ours))(params, x)
  for client in range(CLIENTS):
    own = jax.tree.map(lambda leaf, c=client: leaf[c], params)
    assert_trees_close(actual[client], flax(own, x[client]))


def test_conv_inside_scan_equals_a_loop():
  ours, flax = both_convolutions(3, 2)
  params, x = conv_params(3), normal(3, 4, 2, 6, 5, 2)

  @jax.jit
  def scanned(params, x):
    return jax.lax.scan(lambda _, one: (None, ours(params, one)), None, x)[1]

  actual = scanned(params, x)
  for i in range(len(x)):
    assert_trees_close(actual[i], flax(params, x[i]))


def compiled_gradient(apply) -> str:
  """Returns the program of the gradient, vmapped over kernels."""

  def loss(params, x):
    return jnp.sum(apply(params, x) ** 2)

  arguments = conv_params(3, CLIENTS), normal(3, CLIENTS, 2, 6, 6, 2)
  per_client = jax.jit(jax.vmap(jax.value_and_grad(loss, (0, 1))))
  return per_client.lower(*arguments).compile().as_text()


def test_vmapped_conv_has_no_convolution_op():
  ours, flax = both_convolutions(3, 2)
  assert ' convolution(' in compiled_gradient(flax)  # The search finds them.
  assert ' convolution(' not in compiled_gradient(ours)


@pytest.mark.parametrize(('height', 'width'), [(2, 3), (6, 5), (7, 4)])
def test_max_pool_equals_flax_in_values_and_gradients(height: int, width: int):
  # All distinct, so that the maximum has one place and one gradient; negative,
  # so that padding with zeros would show.
  order = np.random.default_rng(0).permutation(2 * height * width * 3)
  x = -1 - order.reshape(2, height, width, 3).astype(np.float32)
  weights = normal(1, 2, height // 2, width // 2, 3)

  def flax_pool(x):
    return nn.max_pool(x, (2, 2), (2, 2))

  def both(pool):
    return pool(x), jax.grad(lambda x: jnp.sum(pool(x) * weights))(x)

  actual, expected = jax.jit(lambda: (both(max_pool), both(flax_pool)))()
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_gradient_of_max_pool_does_not_scatter():
  x = jnp.zeros((2, 7, 6, 3))

  def lowered(pool):
    gradient = jax.grad(lambda x: jnp.sum(pool(x) ** 2))
    return jax.jit(gradient).lower(x).as_text()

  assert 'scatter' in lowered(lambda x: nn.max_pool(x, (2, 2), (2, 2)))
  assert 'scatter' not in lowered(max_pool)


def test_group_norm_equals_flax_in_values_and_gradients():
  x = 3 * normal(0, 2, 5, 4, 6) + 1
  params = {'scale': normal(1, 6), 'bias': normal(2, 6)}
  layers = (GroupNorm(3), nn.GroupNorm(3))

  def results(layer):
    y, pull = jax.vjp(lambda p, x: layer.apply({'params': p}, x), params, x)
    return y, pull(normal(3, *x.shape))

  assert_trees_close(*map(jax.jit(results, static_argnums=0), layers))


def test_group_norm_of_equal_values_is_the_bias():
  params = {'scale': np.ones(4, np.float32), 'bias': normal(1, 4)}
  x = np.full((1, 2, 2, 4), 1e3, np.float32)
  y = GroupNorm(2).apply({'params': params}, x)
  np.testing.assert_array_equal(y[0, 0, 0], params['bias'])
