"""Tests of losses against NumPy, in training and in evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fps_jax.core.devices import make_mesh
from fps_jax.core.types import Examples
from fps_jax.federated import losses
from fps_jax.federated.client import ClientWork, make_local_update
from fps_jax.federated.evaluation import make_evaluate

_rng = np.random.default_rng(0)
NUM, LENGTH, CLASSES = 5, 3, 4
LOGITS = _rng.normal(size=(NUM, LENGTH, CLASSES)).astype(np.float32)
SEQUENCES = np.int32(
  [[0, 1, -1], [3, -1, -1], [2, 2, 1], [-1, 0, 3], [1, -1, 0]]
)


def apply(params, inputs):
  """A model whose outputs are its inputs, moved by its parameters."""
  return inputs + params


def _nats(logits, label):
  return np.log(np.exp(logits).sum()) - logits[label]


def test_positions_count_alike_and_padding_nowhere():
  """Holds loss, gradient and accuracy of sequences to loops over positions."""
  places = np.argwhere(SEQUENCES >= 0)
  nats = [_nats(LOGITS[i, t], SEQUENCES[i, t]) for i, t in places]
  right = [LOGITS[i, t].argmax() == SEQUENCES[i, t] for i, t in places]
  examples = Examples(LOGITS, SEQUENCES)
  assert losses.num_counted(SEQUENCES) == len(places) == 10
  evaluate = make_evaluate(
    apply, lambda params_D: params_D, examples, 2, make_mesh()
  )
  tested = evaluate(jnp.zeros(CLASSES))
  assert int(tested.num_right) == sum(right)
  np.testing.assert_allclose(tested.loss, np.mean(nats), rtol=1e-5)
  gradient = np.zeros(CLASSES)
  for i, t in places:
    chances = np.exp(LOGITS[i, t]) / np.exp(LOGITS[i, t]).sum()
    gradient += (chances - np.eye(CLASSES)[SEQUENCES[i, t]]) / len(places)
  rows = np.int32([[0, 1, 2, 3, 4, -1]])
  result = jax.jit(make_local_update(apply, optax.sgd(1.0)))(
    jnp.zeros(CLASSES), None, examples, ClientWork(rows, 1)
  )
  np.testing.assert_allclose(result.delta, -gradient, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(result.loss_sum, np.sum(nats), rtol=1e-5)
  assert result.num_trained == len(places)


@pytest.mark.parametrize('shape', [(NUM,), (NUM, 1), (NUM, 3)])
def test_squared_error_is_the_mean_over_numbers_and_has_no_accuracy(shape):
  targets = _rng.normal(size=shape).astype(np.float32)
  outputs = _rng.normal(size=(NUM, 3 if shape[1:] == (3,) else 1))
  outputs = outputs.astype(np.float32)
  expected = np.mean((outputs - targets.reshape(outputs.shape)) ** 2)
  examples, loss = Examples(outputs, targets), losses.mean_squared_error()
  evaluate = make_evaluate(
    apply, lambda params_D: params_D, examples, 2, make_mesh(), loss
  )
  tested = evaluate(jnp.zeros(outputs.shape[1]))
  assert tested.num_right is None
  np.testing.assert_allclose(tested.loss, expected, rtol=1e-5)
  rows = np.int32([[0, 1, 2, 3, 4, -1]])
  result = jax.jit(make_local_update(apply, optax.sgd(1.0), loss=loss))(
    jnp.zeros(outputs.shape[1]), None, examples, ClientWork(rows, 1)
  )
  assert result.num_trained == NUM
  np.testing.assert_allclose(result.loss_sum / NUM, expected, rtol=1e-5)
  errors = (outputs - targets.reshape(outputs.shape)).mean(axis=0)
  np.testing.assert_allclose(
    result.delta, -2 * errors / outputs.shape[1], rtol=1e-4, atol=1e-6
  )


def test_smoothing_is_that_of_optax_and_of_training_alone():
  logits, labels = jnp.asarray(LOGITS[:, 0]), jnp.arange(NUM) % CLASSES
  loss = losses.label_smoothing(0.3)
  smooth = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), 0.3)
  np.testing.assert_allclose(
    loss.train(logits, labels),
    optax.softmax_cross_entropy(logits, smooth),
    rtol=1e-5,
  )
  assert loss.test is losses.cross_entropy().test


@pytest.mark.parametrize('targets', [SEQUENCES, np.int32([0, 0, 3, 1, 0])])
@pytest.mark.parametrize('strength', [1.0, 0.5])
def test_adjusted_logits_are_of_what_the_client_trains_on(targets, strength):
  """Holds a step to NumPy: repeats count, other clients' examples do not."""
  rows = np.int32([[0, 2, -1], [4, 0, -1]])
  inputs = LOGITS if targets.ndim > 1 else LOGITS[:, 0]
  owned = targets[rows[rows >= 0]].reshape(-1)
  counts = 1 + np.bincount(owned[owned >= 0], minlength=CLASSES)
  moved_by = strength * np.log(counts / counts.sum())
  loss = losses.logit_adjustment(strength)
  result = jax.jit(make_local_update(apply, optax.sgd(1.0), loss=loss))(
    jnp.zeros(CLASSES), None, Examples(inputs, targets), ClientWork(rows, 1)
  )
  first = targets[rows[0, :2]].reshape(-1)
  logits = inputs[rows[0, :2]].reshape(-1, CLASSES)[first >= 0] + moved_by
  first = first[first >= 0]
  nats = [_nats(*pair) for pair in zip(logits, first, strict=True)]
  chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  gradient = (chances - np.eye(CLASSES)[first]).mean(axis=0)
  np.testing.assert_allclose(result.delta, -gradient, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(result.loss_sum, np.sum(nats), rtol=1e-5)


def test_adjusting_logits_is_of_training_alone_and_nothing_for_even_classes():
  logits, labels = jnp.asarray(LOGITS[:, 0]), jnp.arange(NUM) % CLASSES
  loss, plain = losses.logit_adjustment(), losses.cross_entropy()
  assert loss.test is plain.test
  adjusted = loss.train_knowing(jnp.int32([0, 1, 2, 3, -1]), CLASSES)
  np.testing.assert_allclose(
    adjusted(logits, labels), plain.train(logits, labels), rtol=1e-6
  )


@pytest.mark.parametrize(
  ('name', 'outputs', 'targets', 'message'),
  [
    ('cross_entropy', (2, 3), np.float32([0, 1]), 'use mean_squared_error'),
    ('cross_entropy', (2, 5, 3), np.int32([0, 1]), r'logits is float32 \[2, 5'),
    ('mean_squared_error', (2, 1), np.int32([0, 1]), 'use cross_entropy'),
    ('mean_squared_error', (2, 3), np.float32([0, 1]), 'outputs is float32'),
  ],
)
def test_targets_of_another_kind_are_refused(name, outputs, targets, message):
  with pytest.raises(ValueError, match=message):
    losses.LOSSES.make(name, {}).train(jnp.zeros(outputs), jnp.asarray(targets))


@pytest.mark.parametrize('smoothing', [0, 1, -0.1, True, 'a'])
def test_smoothing_out_of_range_is_refused(smoothing):
  with pytest.raises(ValueError, match=r'smoothing=.* must be in'):
    losses.label_smoothing(smoothing)


def test_numbers_have_no_frequencies_to_adjust_by():
  loss = losses.logit_adjustment()
  examples = Examples(LOGITS[:, 0], np.ones(NUM, np.float32))
  with pytest.raises(ValueError, match='targets are float32, must be int32'):
    make_local_update(apply, optax.sgd(1.0), loss=loss)(
      jnp.zeros(CLASSES), None, examples, ClientWork(np.int32([[0, 1]]), 1)
    )


@pytest.mark.parametrize('strength', [0, -1.0, np.nan, np.inf, True, 'a'])
def test_strength_of_adjustment_out_of_range_is_refused(strength):
  with pytest.raises(ValueError, match=r'strength=.* must be above 0'):
    losses.logit_adjustment(strength)


@pytest.mark.parametrize(
  'targets', [np.float32([1, np.nan]), np.int32([[-1], [-1]])]
)
def test_test_set_without_a_target_or_with_nan_is_refused(targets):
  with pytest.raises(ValueError, match='2 test targets count'):
    make_evaluate(
      apply, lambda params: params, Examples(targets, targets), 2, make_mesh()
    )
