"""Tests of `fps_jax.models.winograd` and its use, against lax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.models import layers, winograd

CLIENTS = 3

sizes = pytest.mark.parametrize('size', winograd.SIZES)


def normal(seed: int, *shape: int) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def lax_convolve(x, kernel):
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def differentiate(convolve, x, kernel, weights):
  """Returns values and the gradients of their weighted sum, x's first."""
  y, gradient = jax.vjp(convolve, x, kernel)
  return y, *gradient(weights)


run = jax.jit(differentiate, static_argnums=0)


def assert_equals_up_to_rounding(actual, expected):
  """Errors are at most 1e-5 of the largest value, array by array."""
  for a, b in zip(actual, expected, strict=True):
    assert a.dtype == b.dtype == np.float32
    bound = 1e-5 * np.abs(b).max()
    np.testing.assert_allclose(a, b, rtol=0, atol=bound)


@sizes
def test_gradients_of_gradients_are_those_of_lax(size: int):
  arguments = (
    normal(0, 2, 5, 6, 8),
    normal(1, size, size, 8, 4),
    normal(2, 2, 5, 6, 4),
  )

  @functools.partial(jax.jit, static_argnums=0)
  def of_gradients(convolve, *arguments):
    _, pull = jax.vjp(functools.partial(differentiate, convolve), *arguments)
    return pull((arguments[2], 2 * arguments[0], 3 * arguments[1]))

  actual = of_gradients(winograd.convolve, *arguments)
  assert_equals_up_to_rounding(actual, of_gradients(lax_convolve, *arguments))


@sizes
def test_nothing_is_convolved_to_nothing(size: int):
  y, *gradients = run(
    winograd.convolve,
    normal(0, 0, 5, 6, 8),
    normal(1, size, size, 8, 4),
    normal(2, 0, 5, 6, 4),
  )
  assert y.shape == (0, 5, 6, 4)
  assert gradients[0].shape == (0, 5, 6, 8)
  assert gradients[1].shape == (size, size, 8, 4)
  assert not np.any(gradients[1])


def test_transforms_of_images_are_calls_with_their_gradients():
  program = run.lower(
    winograd.convolve,
    normal(0, 2, 5, 6, 8),
    normal(1, 3, 3, 8, 4),
    normal(2, 2, 5, 6, 4),
  )
  # There and back, along both axes: two for x, two for y.
  assert program.compile().as_text().count(' call(') == 8


# Below a tile, so that the kernel sticks out; whole tiles; beyond.
@pytest.mark.slow
@sizes
@pytest.mark.parametrize(
  ('height', 'width', 'channels', 'features'),
  [(1, 2, 3, 2), (4, 8, 1, 5), (5, 4, 1, 1), (7, 6, 16, 8)],
)
def test_values_and_gradients_are_those_of_lax(
  size: int, height: int, width: int, channels: int, features: int
):
  arguments = (
    normal(0, 2, height, width, channels),
    normal(1, size, size, channels, features),
    normal(2, 2, height, width, features),
  )
  expected = run(lax_convolve, *arguments)
  assert_equals_up_to_rounding(run(winograd.convolve, *arguments), expected)


def arguments_of_clients(size: int) -> tuple[np.ndarray, ...]:
  """Returns images, kernels and weights of what comes out."""
  return (
    normal(0, CLIENTS, 2, 5, 6, 8),
    normal(1, CLIENTS, size, size, 8, 4),
    normal(2, CLIENTS, 2, 5, 6, 4),
  )


def assert_equals_lax_client_by_client(actual, arguments):
  for client in range(CLIENTS):
    expected = run(lax_convolve, *(array[client] for array in arguments))
    assert_equals_up_to_rounding([array[client] for array in actual], expected)


@sizes
def test_vmap_over_kernels_and_images_equals_a_loop(size: int):
  arguments = arguments_of_clients(size)
  per_client = jax.vmap(functools.partial(differentiate, winograd.convolve))
  actual = jax.jit(per_client)(*arguments)
  assert_equals_lax_client_by_client(actual, arguments)


@sizes
def test_scan_over_kernels_and_images_equals_a_loop(size: int):
  arguments = arguments_of_clients(size)

  @jax.jit
  def scanned(*arguments):
    def step(_, client):
      return None, differentiate(winograd.convolve, *client)

    return jax.lax.scan(step, None, arguments)[1]

  assert_equals_lax_client_by_client(scanned(*arguments), arguments)


@sizes
def test_descent_inside_a_loop_equals_descent_outside(size: int):
  x, target = normal(0, 2, 5, 4, 3), normal(2, 2, 5, 4, 4)
  kernel = normal(1, size, size, 3, 4)

  @functools.partial(jax.jit, static_argnums=0)
  def step(convolve, kernel):
    y, gradient = jax.vjp(functools.partial(convolve, x), kernel)
    return kernel - 0.005 * gradient(y - target)[0]

  actual = jax.lax.fori_loop(
    0, 3, lambda _, kernel: step(winograd.convolve, kernel), kernel
  )
  expected = kernel
  for _ in range(3):
    expected = step(lax_convolve, expected)
  assert_equals_up_to_rounding([actual], [expected])


@pytest.mark.parametrize('shape', [(1, 1), (2, 2), (3, 5), (5, 3), (7, 7)])
def test_kernel_of_another_size_is_refused(shape: tuple[int, int]):
  message = rf'a kernel of \({shape[0]}, {shape[1]}\) is not square .* \(3, 5\)'
  with pytest.raises(ValueError, match=message):
    winograd.convolve(normal(0, 1, 8, 8, 2), normal(1, *shape, 2, 2))


@sizes
def test_gradient_vmapped_over_kernels_has_no_convolution_op(size: int):
  arguments = arguments_of_clients(size)

  def lowered(convolve) -> str:
    per_client = jax.vmap(functools.partial(differentiate, convolve))
    return jax.jit(per_client).lower(*arguments).as_text()

  assert 'convolution' in lowered(lax_convolve)  # The search finds them.
  assert 'convolution' not in lowered(winograd.convolve)


def test_transforms_of_three_taps_are_those_of_the_paper():
  output, filters, data = winograd.transforms(3)
  assert output.tolist() == [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
  ]
  twenty_fourths = [
    [6, 0, 0],
    [-4, -4, -4],
    [-4, 4, -4],
    [1, 2, 4],
    [1, -2, 4],
    [0, 0, 24],
  ]
  expected = (np.array(twenty_fourths) / 24).astype(np.float32)
  np.testing.assert_array_equal(filters, expected)
  assert data.tolist() == [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
  ]


@sizes
def test_transforms_correlate_with_a_multiplication_an_input(size: int):
  output, filters, data = winograd.transforms(size)
  num_inputs = winograd.TILE + size - 1
  assert output.shape == (winograd.TILE, num_inputs)
  assert filters.shape == (num_inputs, size)
  assert data.shape == (num_inputs, num_inputs)
  rng = np.random.default_rng(0)
  taps, signal = rng.normal(size=size), rng.normal(size=num_inputs)
  actual = output @ ((filters @ taps) * (data @ signal))
  expected = np.correlate(signal, taps, 'valid')
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_layer_of_eight_channels_equals_lax_under_vmap():
  arguments = arguments_of_clients(3)
  convolve = functools.partial(layers.convolve, stride=1)
  actual = jax.jit(jax.vmap(functools.partial(differentiate, convolve)))(
    *arguments
  )
  assert_equals_lax_client_by_client(actual, arguments)


def arguments_of_layer(size: int, channels: int = 8):
  return normal(0, 2, 5, 6, channels), normal(1, size, size, channels, 4)


@pytest.mark.parametrize(
  ('size', 'stride', 'channels', 'expected'),
  [
    (3, 1, 8, True),
    (5, 1, 8, True),
    (3, 1, 7, False),
    (3, 2, 8, False),
    (1, 1, 8, False),
  ],
)
def test_layer_uses_winograd_where_it_pays(
  monkeypatch, size: int, stride: int, channels: int, expected: bool
):
  def zeros(x, kernel):
    return jnp.zeros((*x.shape[:3], kernel.shape[-1]))

  monkeypatch.setattr(winograd, 'convolve', zeros)
  y = layers.convolve(*arguments_of_layer(size, channels), stride)
  assert np.all(y == 0) == expected


@pytest.mark.parametrize(
  ('platform', 'expected'), [('cpu', True), ('cuda', False), ('tpu', False)]
)
def test_layer_uses_winograd_on_cpus_alone(
  monkeypatch, platform: str, expected: bool
):
  def marked(x, kernel):
    return jnp.tanh(jnp.zeros((*x.shape[:3], kernel.shape[-1])))

  monkeypatch.setattr(winograd, 'convolve', marked)
  convolve = jax.jit(functools.partial(layers.convolve, stride=1))
  traced = convolve.trace(*arguments_of_layer(3))
  program = traced.lower(lowering_platforms=(platform,)).as_text()
  assert ('tanh' in program) == expected
