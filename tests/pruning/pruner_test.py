"""Masks of each scope, candidates and regrowth, against plain NumPy."""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from fps_jax import models
from fps_jax.core.types import PruningPlan
from fps_jax.pruning import erk, pruner, scopes
from fps_jax.pruning.pruner import Pruner
from tests.helpers.references import pruning as reference

SHAPES = ((4,), (4, 6), (3, 2, 2), (2,))
EXEMPT = (True, False, False, True)
SIZES = [math.prod(shape) for shape in SHAPES]
SIZE = sum(SIZES)
COUNTS = range(6, SIZE + 1)
EXEMPT_D = np.repeat(EXEMPT, SIZES)


def make_plan(
  keep_count: int,
  num_candidates: int = 0,
  num_regrown: int = 0,
  scope: str = 'global',
) -> PruningPlan:
  layers = None
  if scope == 'erk':
    layers = np.int32([erk.counts_per_layer(SHAPES, EXEMPT, keep_count)])
  return PruningPlan(
    keep_counts_T=np.int32([keep_count]),
    num_candidates=np.int32(num_candidates),
    num_regrown=np.int32(num_regrown),
    layer_counts_TxA=layers,
  )


def vectors() -> list[np.ndarray]:
  rng = np.random.default_rng(0)
  normal = rng.normal(size=(2, SIZE))
  ties = rng.choice([-2.0, 0.0, 1.0, 2.0], size=(2, SIZE))
  scaled = rng.normal(size=SIZE) * np.repeat([1, 1e-3, 30, 1], SIZES)
  empty_layer = np.where(np.repeat([0, 1, 0, 0], SIZES), 0, normal[0])
  return [
    vector.astype(np.float32)
    for vector in (*normal, *ties, scaled, empty_layer)
  ]


def layers_of(vector: np.ndarray) -> list[np.ndarray]:
  return np.split(vector, np.cumsum(SIZES)[:-1])


@functools.cache
def compiled(scope: str):
  return jax.jit(Pruner(SHAPES, EXEMPT, scope).keep)


def masks_of(scope: str, vector: np.ndarray) -> np.ndarray:
  return np.array(
    [compiled(scope)(vector, make_plan(k, scope=scope)) for k in COUNTS]
  )


@pytest.mark.parametrize('scope', scopes.SCOPES)
def test_mask_keeps_exactly_as_many_as_the_plan_says(scope: str):
  for vector in vectors():
    np.testing.assert_array_equal(masks_of(scope, vector).sum(axis=1), COUNTS)


@pytest.mark.parametrize('scope', scopes.SCOPES)
def test_masks_of_one_vector_are_nested_and_keep_exempt_parameters(scope: str):
  for vector in vectors():
    found = masks_of(scope, vector)
    assert not (found[:-1] & ~found[1:]).any()
    assert found[:, EXEMPT_D].all()


@pytest.mark.parametrize('scope', scopes.SCOPES)
def test_ties_go_to_the_lower_index(scope: str):
  found = masks_of(scope, np.ones(SIZE, np.float32))
  for layer in np.split(found, np.cumsum(SIZES)[:-1], axis=1):
    assert not (~layer[:, :-1] & layer[:, 1:]).any()


def test_global_scope_is_one_threshold():
  for vector in vectors():
    expected = [reference.keep_largest(vector, k, EXEMPT_D) for k in COUNTS]
    np.testing.assert_array_equal(masks_of('global', vector), expected)


def test_layer_normalised_scope_divides_by_the_norm_of_the_layer():
  for vector in vectors()[:2] + vectors()[4:]:
    norms = [np.linalg.norm(layer) or 1.0 for layer in layers_of(vector)]
    scores = vector / np.repeat(norms, SIZES)
    expected = [reference.keep_largest(scores, k, EXEMPT_D) for k in COUNTS]
    np.testing.assert_array_equal(
      masks_of('layer_normalised', vector), expected
    )


def test_erk_scope_keeps_the_largest_of_each_layer():
  for vector in vectors():
    for count, mask in zip(COUNTS, masks_of('erk', vector), strict=True):
      counts = erk.counts_per_layer(SHAPES, EXEMPT, count)
      expected = [
        reference.keep_largest(layer, layer_count)
        for layer, layer_count in zip(layers_of(vector), counts, strict=True)
      ]
      np.testing.assert_array_equal(mask, np.concatenate(expected))


def test_layers_of_one_size_keep_as_many_as_each_is_told():
  shapes, exempt = ((2, 6), (5,), (12,), (3, 4)), (False, False, False, True)
  counts = (3, 2, 7, 12)
  plan = dataclasses.replace(
    make_plan(sum(counts)), layer_counts_TxA=np.int32([counts])
  )
  vector = np.random.default_rng(0).normal(size=41).astype(np.float32)
  found = jax.jit(Pruner(shapes, exempt, 'erk').keep)(vector, plan)
  layers = np.split(vector, [12, 17, 29])
  expected = map(reference.keep_largest, layers, counts)
  np.testing.assert_array_equal(found, np.concatenate(list(expected)))


@pytest.mark.parametrize('scope', ['global', 'erk'])
def test_part_is_as_much_of_what_is_kept_as_the_plan_says(scope: str):
  draw_part = jax.jit(Pruner(SHAPES, EXEMPT, scope).draw_part)
  num_exempt = EXEMPT_D.sum()
  for kept_count, count in ((SIZE, SIZE), (SIZE, 20), (25, 20), (20, 20)):
    kept = masks_of(scope, vectors()[0])[COUNTS.index(kept_count)]
    plan = make_plan(count, scope=scope)
    parts = [
      np.asarray(draw_part(kept, plan, jax.random.key(seed)))
      for seed in range(3)
    ]
    for part in parts:
      assert part.sum() == count
      assert part[EXEMPT_D].all()
      assert not (part & ~kept).any()
      if scope == 'erk':
        sizes = [layer.sum() for layer in layers_of(part)]
        assert sizes == plan.layer_counts_TxA[0].tolist()
    is_whole = num_exempt == count or kept_count == count
    assert is_whole == np.array_equal(parts[0], parts[1])


def test_every_kept_weight_is_as_likely_in_the_part_as_any_other():
  kept = EXEMPT_D | (np.arange(SIZE) % 3 == 0)
  keys = jax.random.split(jax.random.key(1), 4000)
  plan = make_plan(int(EXEMPT_D.sum()) + 3)
  drawn = jax.jit(jax.vmap(Pruner(SHAPES, EXEMPT).draw_part, (None, None, 0)))(
    kept, plan, keys
  )
  prunable = kept & ~EXEMPT_D
  expected = 3 / prunable.sum()
  found = np.asarray(drawn).mean(axis=0)[prunable]
  # Five standard deviations of a mean of 4,000 draws.
  assert np.abs(found - expected).max() < 5 * math.sqrt(expected / 4000)


def draw(mask: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
  draw_jit = jax.jit(Pruner(SHAPES, EXEMPT).draw_candidates)
  return np.asarray(draw_jit(mask, np.int32(count), jax.random.key(seed)))


@pytest.mark.slow
def test_candidates_are_pruned_and_as_many_as_asked_for():
  mask = np.arange(SIZE) % 3 == 0
  for count in range(int((~mask).sum()) + 1):
    candidates = draw(mask, count)
    assert candidates.sum() == count
    assert not (candidates & mask).any()


def test_every_pruned_parameter_is_as_likely_a_candidate_as_any_other():
  mask = np.arange(SIZE) % 3 == 0
  keys = jax.random.split(jax.random.key(1), 4000)
  drawn = jax.jit(
    jax.vmap(Pruner(SHAPES, EXEMPT).draw_candidates, (None, None, 0))
  )(mask, np.int32(7), keys)
  expected = 7 / (~mask).sum()
  found = np.asarray(drawn).mean(axis=0)[~mask]
  # Five standard deviations of a mean of 4,000 draws.
  assert np.abs(found - expected).max() < 5 * math.sqrt(expected / 4000)


def scores_of(scope: str, vector: np.ndarray) -> np.ndarray:
  if scope == 'global':
    return vector
  norms = [np.linalg.norm(layer) or 1.0 for layer in layers_of(vector)]
  return (vector / np.repeat(norms, SIZES)).astype(np.float32)


@pytest.mark.parametrize('scope', ['global', 'layer_normalised'])
@pytest.mark.parametrize('num_regrown', [1, 3, 6])
def test_regrowth_exchanges_the_smallest_for_the_most_moved_by_the_scope(
  num_regrown: int, scope: str
):
  rng = np.random.default_rng(0)
  kept = EXEMPT_D | (rng.random(SIZE) < 0.5)
  candidates = draw(kept, 8)
  plan = make_plan(int(kept.sum()) + 8, 8, num_regrown)
  regrow = jax.jit(Pruner(SHAPES, EXEMPT, scope).regrow)
  # Without the layer of zeros, where all are tied, and with one of others'
  # thousandth.
  for vector in vectors()[:2] + vectors()[4:5]:
    params = np.where(kept | candidates, vector, 0)
    scores = scores_of(scope, params)
    stays = reference.keep_largest(
      np.where(kept, scores, 0), int(kept.sum()) - num_regrown, EXEMPT_D
    )
    grows = reference.keep_largest(np.where(candidates, scores, 0), num_regrown)
    regrown = np.asarray(regrow(params, candidates, kept, plan))
    np.testing.assert_array_equal(regrown, np.where(stays | grows, params, 0))
    assert np.count_nonzero(regrown) == kept.sum()


@pytest.mark.parametrize('scope', ['global', 'erk'])
def test_regrowth_by_magnitude_keeps_the_largest_wherever_they_come_from(
  scope: str,
):
  kept = EXEMPT_D | (np.random.default_rng(0).random(SIZE) < 0.5)
  candidates = draw(kept, 8)
  plan = make_plan(int(kept.sum()), scope=scope)
  plan = dataclasses.replace(
    plan, keep_counts_T=plan.keep_counts_T + 8, num_candidates=np.int32(8)
  )
  by_magnitude = Pruner(SHAPES, EXEMPT, scope, regrow_rule='magnitude')
  for vector in vectors()[:2]:
    params = np.where(kept | candidates, vector, 0)
    found = np.asarray(by_magnitude.regrow(params, candidates, kept, plan))
    mask = reference.keep_largest(params, int(kept.sum()), EXEMPT_D)
    if scope == 'erk':
      mask = np.concatenate(
        [
          reference.keep_largest(layer, count)
          for layer, count in zip(
            layers_of(params), plan.layer_counts_TxA[0], strict=True
          )
        ]
      )
    np.testing.assert_array_equal(found, np.where(mask, params, 0))
    # Some of both are left, and some of both are not.
    for part in (kept & ~EXEMPT_D, candidates):
      assert 0 < np.count_nonzero(found[part]) < np.count_nonzero(params[part])


def test_regrowth_of_weights_that_did_not_move_leaves_no_more_than_was_kept():
  kept = EXEMPT_D | (np.arange(SIZE) % 3 == 0)
  candidates = draw(kept, 8)
  # Kept ones of 0, and candidates at 1: none of these may pass for a kept one.
  params = np.where(candidates, 1, np.where(EXEMPT_D, 2, 0)).astype(np.float32)
  plan = make_plan(int(kept.sum()) + 8, 8, 3)
  regrown = Pruner(SHAPES, EXEMPT).regrow(
    jnp.asarray(params), jnp.asarray(candidates), jnp.asarray(kept), plan
  )
  assert np.count_nonzero(np.asarray(regrown)[candidates]) == 3


class Last(scopes.Scope):
  """The last weights of every layer."""

  def score(self, layer: jax.Array) -> jax.Array:
    """Returns minus the number of each, from 1."""
    return -jnp.arange(layer.size, dtype=jnp.float32) - 1


@pytest.mark.slow
def test_scope_of_a_user_is_used_by_masks_and_regrowth(monkeypatch):
  monkeypatch.setitem(scopes.SCOPES, 'mine', Last)
  found = Pruner(SHAPES, EXEMPT, 'mine').keep(
    jnp.asarray(vectors()[0]), make_plan(20)
  )
  scores = np.concatenate([np.arange(size) + 1 for size in SIZES])
  expected = reference.keep_largest(scores, 20, EXEMPT_D)
  np.testing.assert_array_equal(found, expected)
  pruner.check('mine', 'sparse', 5)


def test_without_candidates_regrowth_changes_nothing():
  params = vectors()[0]
  nobody = np.zeros(SIZE, bool)
  found = Pruner(SHAPES, EXEMPT).regrow(
    jnp.asarray(params), nobody, ~nobody, make_plan(SIZE)
  )
  np.testing.assert_array_equal(found, params)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (('all', 'sparse', 0), "scope='all' is not one of"),
    (('global', 'lazy', 0), "server='lazy' is not one of"),
    (('global', 'dense', 5), 'regrow_every=5 needs server=sparse'),
    (('erk', 'sparse', 5), "'movement' needs a scope of .*not scope='erk'"),
    (('erk', 'sparse', 5, 'luck'), "regrow_rule='luck' is not one of"),
    (
      ('layer_normalised', 'dense', 0),
      "server='dense' with scope='layer_normalised'.*set server='sparse'",
    ),
  ],
)
def test_settings_that_exclude_each_other_raise(settings, message: str):
  with pytest.raises(ValueError, match=message):
    pruner.check(*settings)


def test_regrowth_by_magnitude_goes_with_numbers_for_each_layer():
  pruner.check('erk', 'sparse', 5, 'magnitude')


@functools.cache
def model_params(name: str):
  """Returns the shapes of a model's parameters."""
  model = models.make(name, 10)
  images = jnp.zeros((1, 8, 8, 1))
  return jax.eval_shape(model.init, jax.random.key(0), images)['params']


@pytest.mark.parametrize('name', ['mlp', 'resnet8'])
@pytest.mark.parametrize(
  ('patterns', 'is_exempt'),
  [
    ((), lambda path: False),
    (('',), lambda path: True),
    (('bias$',), lambda path: path.endswith('bias')),
    (('^output/',), lambda path: path.startswith('output/')),
    (('output/k', '.ias'), lambda path: 'output/k' in path or 'bias' in path),
  ],
)
def test_exempt_is_in_the_order_of_the_flat_vector(
  name: str, patterns: tuple[str, ...], is_exempt: Callable[[str], bool]
) -> None:
  def flags(path, leaf):
    flag = is_exempt('/'.join(entry.key for entry in path))
    return np.full(leaf.shape, flag, np.float32)

  params = model_params(name)
  vector, _ = ravel_pytree(jax.tree_util.tree_map_with_path(flags, params))
  found = Pruner.of(params, patterns).exempt_mask
  assert found.dtype == np.bool_
  assert found.any() == bool(patterns)
  np.testing.assert_array_equal(found, np.asarray(vector) == 1)


def test_pattern_of_what_is_exempt_must_match_unless_optional() -> None:
  params = model_params('mlp')
  pruner.check_patterns(params, ('bias$', 'scale$'), optional=('scale$',))
  message = r"exempt has '\^outptu/', which matches none of \['hidden_0/bias'"
  with pytest.raises(ValueError, match=message):
    pruner.check_patterns(params, ('bias$', '^outptu/'), ('scale$',))


def test_layers_of_which_nothing_is_left_are_named_unless_exempt() -> None:
  params = {
    'a': {'bias': jnp.zeros(2), 'kernel': jnp.zeros((2, 2))},
    'b': {'kernel': jnp.float32([[0, 0], [0, 1]])},
  }
  params_D, _ = ravel_pytree(params)
  assert pruner.emptied_layers(params, params_D, ('bias$',)) == ['a/kernel']


def test_exempt_of_the_mlp_is_its_biases_and_output() -> None:
  found = Pruner.of(model_params('mlp'), ('bias$', '^output/')).exempt_mask
  # hidden_0: bias 200, kernel 64 x 200; hidden_1: bias 200, kernel 200 x 200;
  # output: bias 10, kernel 200 x 10.
  lengths = [200, 64 * 200, 200, 200 * 200, 10 + 200 * 10]
  flags = [True, False, True, False, True]
  np.testing.assert_array_equal(found, np.repeat(flags, lengths))
