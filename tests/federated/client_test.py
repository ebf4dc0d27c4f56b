"""Tests of `fps_jax.federated.client` against softmax regression in NumPy."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.core.types import Examples
from fps_jax.federated.client import (
  ClientResult,
  ClientWork,
  LocalUpdate,
  make_local_update,
  scale_pixels,
)
from fps_jax.federated.optimizers import sgd

NUM_EXAMPLES, SIDE, NUM_CLASSES = 11, 2, 3
MAX_STEPS = 8
MEAN, STD = 0.4, 0.7

_rng = np.random.default_rng(0)
IMAGES = _rng.integers(256, size=(NUM_EXAMPLES, SIDE, SIDE, 1), dtype=np.uint8)
LABELS = _rng.integers(NUM_CLASSES, size=NUM_EXAMPLES, dtype=np.int32)
EXAMPLES = Examples(IMAGES, LABELS)
PARAMS = {
  'kernel': _rng.normal(size=(SIDE * SIDE, NUM_CLASSES)).astype(np.float32),
  'bias': _rng.normal(size=NUM_CLASSES).astype(np.float32),
}
MASK = {
  'kernel': (_rng.random((SIDE * SIDE, NUM_CLASSES)) < 0.5).astype(np.float32),
  'bias': np.float32([1, 0, 1]),
}
PRUNED = jax.tree.map(np.multiply, PARAMS, MASK)

# Full batches, padding at the end, in front and in the middle; a step of
# nothing but padding between others; rows that repeat.
BATCHES = np.array(
  [
    [0, 1, 2, 3],
    [4, 5, -1, -1],
    [-1, -1, -1, -1],
    [-1, 6, -1, 7],
    [8, 8, 9, -1],
    [10, 0, 1, 2],
  ],
  np.int32,
)


class Settings(NamedTuple):
  """How a client trains."""

  learning_rate: float = 0.3
  momentum: float = 0.0
  weight_decay: float = 0.0
  proximal: float = 0.0


SETTINGS = [
  Settings(),
  Settings(learning_rate=0.05),
  Settings(momentum=0.8),
  Settings(weight_decay=0.1),
  Settings(proximal=0.5),
  Settings(momentum=0.8, weight_decay=0.1, proximal=0.5),
]
all_settings = pytest.mark.parametrize('settings', SETTINGS)
settings = pytest.mark.parametrize('settings', [SETTINGS[0], SETTINGS[-1]])
masks = pytest.mark.parametrize('mask', [None, MASK], ids=['dense', 'pruned'])


def apply(params, images):
  pixels = scale_pixels(images, MEAN, STD)
  return pixels.reshape(len(images), -1) @ params['kernel'] + params['bias']


@functools.cache
def compile_update(settings: Settings) -> LocalUpdate:
  """Returns local training, compiled once however many tests use it."""
  optimizer = sgd(
    settings.learning_rate, settings.momentum, settings.weight_decay
  )
  update = make_local_update(apply, optimizer, settings.proximal)
  # Run a few times only: not worth optimising.
  return jax.jit(update)


def train(
  settings: Settings,
  batches: np.ndarray,
  mask: dict[str, Any] | None = None,
  num_steps: int | None = None,
  images: np.ndarray = IMAGES,
  labels: np.ndarray = LABELS,
) -> ClientResult:
  # Steps beyond `num_steps` are not taken: of one shape, compiled once.
  padding = np.zeros((MAX_STEPS - len(batches), batches.shape[1]), np.int32)
  return compile_update(settings)(
    PARAMS if mask is None else PRUNED,
    mask,
    Examples(images, labels),
    ClientWork(
      np.concatenate([batches, padding]),
      np.int32(len(batches) if num_steps is None else num_steps),
    ),
  )


def train_reference(
  settings: Settings, batches: np.ndarray, mask: dict[str, Any] | None
) -> tuple[dict[str, np.ndarray], float, int]:
  """Local training in float64, with the gradient worked out by hand."""
  received = PARAMS if mask is None else PRUNED
  received = {name: leaf.astype(np.float64) for name, leaf in received.items()}
  params = {name: leaf.copy() for name, leaf in received.items()}
  velocity = {name: np.zeros_like(leaf) for name, leaf in received.items()}
  loss_sum, num_trained = 0.0, 0
  for batch in batches:
    rows = [row for row in batch if row >= 0]
    if not rows:
      continue
    x = (IMAGES[rows].reshape(len(rows), -1) / 255 - MEAN) / STD
    logits = x @ params['kernel'] + params['bias']
    exponentials = np.exp(logits)
    chances = exponentials / exponentials.sum(axis=1, keepdims=True)
    picked = np.arange(len(rows)), LABELS[rows]
    loss_sum -= np.log(chances[picked]).sum()
    num_trained += len(rows)
    errors = chances
    errors[picked] -= 1
    gradients = {
      'kernel': x.T @ errors / len(rows),
      'bias': errors.mean(axis=0),
    }
    for name, gradient in gradients.items():
      gradient += settings.proximal * (params[name] - received[name])
      if mask is not None:
        gradient *= mask[name]
      gradient += settings.weight_decay * params[name]
      velocity[name] = settings.momentum * velocity[name] + gradient
      params[name] -= settings.learning_rate * velocity[name]
  delta = {name: params[name] - received[name] for name in params}
  return delta, loss_sum, num_trained


def assert_results_equal(one: ClientResult, other: ClientResult):
  jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow
@all_settings
@masks
def test_training_equals_a_numpy_loop(
  settings: Settings, mask: dict[str, Any] | None
):
  result = train(settings, BATCHES, mask)
  delta, loss_sum, num_trained = train_reference(settings, BATCHES, mask)
  for name, expected in delta.items():
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(
      result.delta[name], expected, rtol=1e-4, atol=1e-5
    )
  np.testing.assert_allclose(result.loss_sum, loss_sum, rtol=1e-5)
  assert result.num_trained == num_trained == 15


@pytest.mark.slow
@settings
def test_masked_entries_do_not_change(settings: Settings):
  result = train(settings, BATCHES, MASK)
  for name, leaf in result.delta.items():
    assert np.all(leaf[MASK[name] == 0] == 0)
    assert np.all(leaf[MASK[name] == 1] != 0)


def test_mask_of_ones_trains_all():
  ones = jax.tree.map(np.ones_like, MASK)
  arguments = EXAMPLES, ClientWork(BATCHES, np.int32(len(BATCHES)))
  update = compile_update(Settings())
  assert_results_equal(
    update(PARAMS, ones, *arguments), update(PARAMS, None, *arguments)
  )


@settings
def test_rows_of_padding_have_no_influence(settings: Settings):
  # -1 must not read the last example, whatever lies there.
  batches = np.array([[0, 1, -1, -1], [2, -1, -1, 3]], np.int32)
  expected = train(settings, batches)
  images, labels = IMAGES.copy(), LABELS.copy()
  images[4:] = 255 - images[4:]
  labels[4:] = (labels[4:] + 1) % NUM_CLASSES
  assert_results_equal(
    train(settings, batches, images=images, labels=labels), expected
  )


def test_place_and_number_of_padding_rows_do_not_matter():
  settings = SETTINGS[-1]
  tight = train(settings, np.array([[0, 1], [2, 3]], np.int32))
  loose = train(settings, np.array([[0, -1, 1, -1], [-1, -1, 2, 3]], np.int32))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    tight,
    loose,
  )


@settings
def test_steps_of_padding_change_nothing(settings: Settings):
  # With momentum or weight decay a step with a zero gradient would move.
  nothing = np.full((1, 4), -1, np.int32)
  batches = BATCHES[[0, 1, 3]]
  expected = train(settings, batches)
  padded = np.concatenate(
    [nothing, batches[:1], nothing, nothing, batches[1:], nothing]
  )
  assert_results_equal(train(settings, padded), expected)


@settings
def test_nothing_but_padding_gives_a_zero_delta(settings: Settings):
  result = train(settings, np.full((3, 4), -1, np.int32))
  for leaf in jax.tree.leaves(result):
    np.testing.assert_array_equal(leaf, np.zeros_like(leaf))


@pytest.mark.parametrize('num_steps', [0, 1, 3, 6])
def test_only_num_steps_steps_are_taken(num_steps: int):
  settings = Settings(momentum=0.8)
  result = train(settings, BATCHES, num_steps=num_steps)
  delta, loss_sum, num_trained = train_reference(
    settings, BATCHES[:num_steps], None
  )
  for name, expected in delta.items():
    np.testing.assert_allclose(
      result.delta[name], expected, rtol=1e-4, atol=1e-5
    )
  np.testing.assert_allclose(result.loss_sum, loss_sum, rtol=1e-5)
  assert result.num_trained == num_trained


def test_num_steps_may_be_traced():
  traces = 0

  def counted_apply(params, images):
    nonlocal traces
    traces += 1
    return apply(params, images)

  update = jax.jit(make_local_update(counted_apply, sgd(0.3)))
  trained, counted = [], []
  for num_steps in (0, 2, 6):
    work = ClientWork(BATCHES, np.int32(num_steps))
    result = update(PARAMS, None, EXAMPLES, work)
    trained.append(float(result.num_trained))
    counted.append(traces)
  assert trained == [0, 6, 15]
  assert counted[0] == counted[-1] > 0


def test_optimizer_state_starts_afresh_every_call():
  settings = Settings(momentum=0.8)
  assert_results_equal(train(settings, BATCHES), train(settings, BATCHES))


@settings
def test_vmapped_clients_train_as_they_do_alone(settings: Settings):
  # The second client has fewer steps: the rest of its batches is padding.
  padded = BATCHES.copy()
  padded[2:] = -1
  examples = jax.tree.map(jnp.asarray, EXAMPLES)

  def train_row(batches):
    work = ClientWork(batches, jnp.int32(len(BATCHES)))
    return compile_update(settings)(PARAMS, None, examples, work)

  together = jax.vmap(train_row)(jnp.stack([BATCHES, padded]))
  for row, batches in enumerate((BATCHES, BATCHES[:2])):
    jax.tree.map(
      lambda a, b, row=row: np.testing.assert_allclose(
        a[row], b, rtol=1e-5, atol=1e-6
      ),
      together,
      train(settings, batches),
    )


def test_pixels_are_scaled_then_standardised():
  scaled = scale_pixels(jnp.uint8([0, 51, 255]), mean=0.5, std=0.25)
  assert scaled.dtype == jnp.float32
  np.testing.assert_allclose(scaled, [-2, -1.2, 2], rtol=1e-6)


def test_channels_have_means_and_deviations_of_their_own():
  images = jnp.uint8([[0, 51], [255, 255]])
  scaled = scale_pixels(images, mean=(0.5, 0.2), std=(0.25, 0.4))
  np.testing.assert_allclose(scaled, [[-2, 0], [2, 2]], atol=1e-6)


def test_optimizer_without_momentum_keeps_no_state():
  params = jax.tree.map(jnp.asarray, PARAMS)
  assert not jax.tree.leaves(sgd(0.1).init(params))
  assert jax.tree.leaves(sgd(0.1, momentum=0.5).init(params))


def test_only_malicious_clients_train_on_what_they_corrupt():
  optimizer = sgd(0.1)

  def corrupt(images, labels, malicious):
    return images, jnp.where(malicious, 1 - jnp.minimum(labels, 1), labels)

  corrupted = make_local_update(apply, optimizer, corrupt=corrupt)
  batches = np.array([[0, 1], [2, -1]], np.int32)
  work = ClientWork(batches, np.int32(2))
  honest = make_local_update(apply, optimizer)
  compiled = jax.jit(corrupted)
  plain = jax.jit(honest)(PARAMS, None, EXAMPLES, work)
  jax.tree.map(
    np.testing.assert_array_equal,
    compiled(PARAMS, None, EXAMPLES, work).delta,
    plain.delta,
  )
  flipped = 1 - np.minimum(LABELS, 1)
  expected = jax.jit(honest)(PARAMS, None, Examples(IMAGES, flipped), work)
  work = work._replace(is_malicious=np.True_)
  jax.tree.map(
    np.testing.assert_array_equal,
    compiled(PARAMS, None, EXAMPLES, work).delta,
    expected.delta,
  )
