"""Tests of `fps_jax.federated.evaluation` against NumPy on one batch."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.core.devices import make_mesh
from fps_jax.core.types import Examples
from fps_jax.data.stored import Stored
from fps_jax.federated import evaluation
from fps_jax.federated.client import scale_pixels
from fps_jax.federated.evaluation import make_evaluate, put_batches

COUNT, NUM_CLASSES = 10, 3
MEAN, STD = 0.4, 0.7

_rng = np.random.default_rng(0)
IMAGES = _rng.integers(256, size=(COUNT, 2, 2, 1), dtype=np.uint8)
LABELS = _rng.integers(NUM_CLASSES, size=COUNT, dtype=np.int32)
PARAMS = _rng.normal(size=4 * NUM_CLASSES).astype(np.float32)

batch_sizes = pytest.mark.parametrize('batch_size', [1, 3, 7, COUNT, COUNT + 1])


def unravel(params_D):
  return {'kernel': params_D.reshape(4, NUM_CLASSES)}


def apply(params, images):
  pixels = scale_pixels(images, MEAN, STD)
  return pixels.reshape(len(pixels), 4) @ params['kernel']


def evaluate_reference(
  images: np.ndarray, labels: np.ndarray
) -> tuple[int, float]:
  pixels = (images.reshape(len(images), 4) / 255 - MEAN) / STD
  logits = pixels @ PARAMS.reshape(4, NUM_CLASSES)
  log_chances = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  correct = np.sum(logits.argmax(axis=1) == labels)
  return int(correct), -log_chances[np.arange(len(labels)), labels].mean()


@batch_sizes
def test_evaluation_equals_a_direct_computation(batch_size: int):
  evaluate = make_evaluate(
    apply, unravel, Examples(IMAGES, LABELS), batch_size, make_mesh()
  )
  correct, loss = evaluate(jnp.asarray(PARAMS))
  expected_correct, expected_loss = evaluate_reference(IMAGES, LABELS)
  assert correct.dtype == jnp.int32
  assert 0 < correct == expected_correct < COUNT
  np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)


@batch_sizes
def test_every_image_counts_exactly_once(batch_size: int):
  # The loss of image i is about 2^i: the mean tells which were counted, and
  # how often. A right answer is label 0, the label that padding has in the
  # loss.
  losses = 2.0 ** np.arange(2, COUNT + 2)
  images = np.zeros((COUNT, 1, 1, 1), np.uint8)
  images[:, 0, 0, 0] = np.arange(1, COUNT + 1)
  labels = np.ones(COUNT, np.int32)
  labels[::3] = 0

  def apply_table(params, pixels):
    number = jnp.round(pixels[:, 0, 0, 0])
    logit = jnp.where(number > 0, params * 2.0 ** (number + 1), 100.0)
    return jnp.stack([logit, jnp.zeros_like(logit)], axis=1)

  evaluate = make_evaluate(
    apply_table,
    lambda params_D: params_D[0],
    Examples(images, labels),
    batch_size,
    make_mesh(),
  )
  correct, loss = evaluate(jnp.ones(1))
  assert correct == np.sum(labels == 0)
  # log(1 + e^-4) and its like are at most 0.02 each.
  np.testing.assert_allclose(loss * COUNT, losses[labels == 1].sum(), atol=0.1)


@pytest.mark.parametrize('num_processes', [2, 3])
def test_process_reads_its_own_test_images_alone(monkeypatch, num_processes):
  mesh = mock.Mock(devices=np.empty((num_processes, 1)), size=num_processes)
  monkeypatch.setattr(evaluation, 'put_per_device', lambda _, array: array)
  read, parts = [], []

  def read_into(rows, into):
    read.extend(rows.tolist())
    into[:] = IMAGES[rows]

  for process in range(num_processes):
    monkeypatch.setattr(jax, 'process_index', lambda p=process: p)
    images = Stored(IMAGES.shape, IMAGES.dtype, '', read_into)
    examples = Examples(images.as_array(), LABELS)
    parts.append(put_batches(examples, (num_processes, 4), mesh))
  # Each is read by one process, and padding by none.
  filled = min(4 * num_processes, COUNT)
  assert read == list(range(filled))
  labels = np.concatenate([part.targets.reshape(-1) for part in parts])
  np.testing.assert_array_equal(labels[:filled], LABELS[:filled])
  assert (labels[filled:] == -1).all()


def test_evaluation_uses_the_parameters_it_is_given():
  evaluate = make_evaluate(
    apply, unravel, Examples(IMAGES, LABELS), 4, make_mesh()
  )
  losses = [float(evaluate(jnp.asarray(PARAMS * s))[1]) for s in (0, 1)]
  np.testing.assert_allclose(losses[0], np.log(NUM_CLASSES), rtol=1e-6)
  assert losses[0] != losses[1]


def test_evaluation_does_not_change_the_data_set():
  images, labels = IMAGES.copy(), LABELS.copy()
  make_evaluate(apply, unravel, Examples(images, labels), 7, make_mesh())(
    jnp.asarray(PARAMS)
  )
  np.testing.assert_array_equal(images, IMAGES)
  np.testing.assert_array_equal(labels, LABELS)
