"""Whole rounds whose masks are chosen once, before training or early in it."""

import functools
from typing import Any

import numpy as np
import pytest

from fps_jax.config.sections.pruning import make_pruner
from tests.helpers import small
from tests.helpers.cases import thorough
from tests.helpers.references import pruning as reference

pytestmark = pytest.mark.slow
FIXED = ('initial_magnitude', 'random')


def config_of(score: str, **overrides: Any):
  changes = {'sharing__scheme': 'none', 'num_rounds': 2, **overrides}
  if score == 'saliency':
    changes['pruning__begin_round'] = 1
  return small.make_config(
    pruning__schedule='constant', pruning__score=score, **changes
  )


@pytest.mark.parametrize('score', FIXED)
@pytest.mark.parametrize('scope', ['global', 'erk'])
def test_mask_is_of_what_was_ranked_before_training_in_all_rounds(
  score: str, scope: str
):
  config = config_of(score, pruning__scope=scope)
  simulation = small.make(config)
  state = simulation.init_state()
  ranked = np.asarray(state.scores)
  if score == 'initial_magnitude':
    np.testing.assert_array_equal(ranked, state.params)
  unravel = simulation.accounts.model.unravel
  pruner = make_pruner(config, unravel(state.params))
  expected = np.asarray(pruner.keep(ranked, simulation.pruning_plans[0]))
  for r in range(config.num_rounds):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    params = np.asarray(state.params)
    assert np.all(params[~expected] == 0)
    # Trained weights are 0 by chance alone.
    assert np.mean(params[expected] != 0) > 0.9
  np.testing.assert_array_equal(state.scores, ranked)


def test_random_masks_are_those_of_the_seed_and_follow_no_weight():
  config = config_of('random')
  one, again, other = (small.make(config, seed) for seed in (0, 0, 1))
  drawn = [np.asarray(each.init_state().scores) for each in (one, again, other)]
  np.testing.assert_array_equal(drawn[0], drawn[1])
  assert np.all(drawn[0] != drawn[2])
  assert np.all((drawn[0] >= 1) & (drawn[0] < 2))
  magnitudes = np.abs(one.init_state().params)
  assert abs(np.corrcoef(drawn[0], magnitudes)[0, 1]) < 0.1


@pytest.mark.parametrize('score', [*map(thorough, FIXED), 'saliency'])
def test_such_masks_are_shared_to_the_bits_of_ideal_sums(score: str):
  config = functools.partial(config_of, score)
  ideal, ideal_rows = small.run(config(sharing__scheme='ideal'))
  shared, shared_rows = small.run(config(sharing__scheme='shamir'))
  np.testing.assert_array_equal(ideal, shared)
  for one, other in zip(ideal_rows, shared_rows, strict=True):
    for name in ('uplink_bytes_per_client', 'server_to_central_bytes'):
      assert one[name] == other[name] > 0


def test_masks_of_magnitude_are_ranked_anew():
  simulation = small.make(config_of('magnitude'))
  assert simulation.init_state().scores is None


def gradient(params: np.ndarray, images: np.ndarray, labels: np.ndarray):
  """Returns that of the mean loss of a softmax regression, biases first."""
  biases, kernel = params[:10], params[10:].reshape(-1, 10)
  logits = images @ kernel + biases
  errors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  errors = (errors - np.eye(10)[labels]) / len(labels)
  return np.concatenate([errors.sum(axis=0), (images.T @ errors).ravel()])


def test_saliency_mask_is_that_of_gradients_averaged_in_plain_numpy():
  """The clients' gradients, as they take one step on all their examples."""
  config = config_of(
    'saliency',
    model__args__mlp__widths=(),
    pruning__exempt=('bias$',),
    client__batch_size=1000,
  )
  simulation = small.make(config)
  state, examples = simulation.init_state(), simulation.put_data()
  first = np.array(state.params)
  summed = np.zeros(len(first))
  for rows in np.asarray(simulation.plan(0).cohort.indices)[:, 0]:
    rows = rows[rows >= 0]
    images = np.asarray(examples.inputs)[rows].reshape(len(rows), -1) / 255
    images = (images - config.data.pixel_mean) / config.data.pixel_std
    labels = np.asarray(examples.targets)[rows]
    # FedAvg weighs clients by their examples.
    summed += len(rows) * gradient(first.astype(float), images, labels)
  for r in range(config.num_rounds):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
  expected = reference.keep_largest(
    first * summed,
    int(simulation.pruning_plans[1].keep_count),
    np.arange(len(first)) < 10,
  )
  np.testing.assert_array_equal(np.asarray(state.params) != 0, expected)


def test_saliency_is_of_the_opened_sum_alone_and_fixed_from_then_on():
  """So it is public, and one for all clients, whoever is in later rounds."""
  simulation = small.make(config_of('saliency', num_rounds=3))
  state = simulation.init_state()
  first = np.array(state.params)
  np.testing.assert_array_equal(state.scores, first)
  state, _, _ = small.step(simulation, state, simulation.plan(0))
  public = np.array(state.scores)
  # Clients are sent both models, and with the server's step 1 the mean update.
  np.testing.assert_allclose(
    public, np.abs(first * (state.params - first)), rtol=1e-3, atol=1e-7
  )
  masks = []
  for r in (1, 2):
    state, _, _ = small.step(simulation, state, simulation.plan(r))
    np.testing.assert_array_equal(state.scores, public)
    masks.append(np.asarray(state.params) != 0)
  np.testing.assert_array_equal(*masks)


def test_round_without_clients_leaves_scores_as_they_were():
  simulation = small.make(config_of('saliency'))
  state, plan = simulation.init_state(), simulation.plan(0)
  first = np.array(state.params)
  state, _, _ = small.step(simulation, state, small.with_clients(plan, 0))
  np.testing.assert_array_equal(state.scores, first)


def test_saliency_costs_the_bytes_of_a_round_that_prunes_nothing():
  _, (first, second) = small.run(config_of('saliency', num_rounds=2))
  _, (unpruned,) = small.run(
    config_of('magnitude', num_rounds=1, pruning__begin_round=1)
  )
  _, (pruned,) = small.run(config_of('random', num_rounds=1))
  for name in ('uplink_bytes_per_client', 'downlink_bytes_per_client'):
    assert first[name] == unpruned[name] > second[name]
    assert second[name] == pruned[name]
