"""One's own parameters, pruned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.pruning.prune import keep_mask, prune


def parameters() -> dict:
  rng = np.random.default_rng(0)
  return {
    'layers': [
      {'kernel': jnp.float32(rng.normal(size=(4, 5))), 'bias': jnp.ones(5)},
      {'kernel': jnp.bfloat16(rng.normal(size=(5, 2)))},
    ]
  }


def test_exactly_the_largest_magnitudes_of_all_layers_are_kept():
  params = parameters()
  pruned = prune(params, 0.6)
  assert jax.tree.map(jnp.shape, pruned) == jax.tree.map(jnp.shape, params)
  assert pruned['layers'][1]['kernel'].dtype == jnp.bfloat16
  before, after = (
    np.concatenate([np.ravel(np.float32(a)) for a in jax.tree.leaves(tree)])
    for tree in (params, pruned)
  )
  order = np.argsort(-np.abs(before), kind='stable')
  kept = np.sort(order[: 35 - round(0.6 * 35)])
  np.testing.assert_array_equal(np.flatnonzero(after), kept)
  np.testing.assert_array_equal(after[kept], before[kept])


def test_sparsity_may_be_a_number_of_numpy():
  mask = keep_mask(parameters(), np.float32(0.5))
  assert sum(int(m.sum()) for m in jax.tree.leaves(mask)) == 35 - round(17.5)


def test_what_is_exempt_is_kept_whole():
  mask = keep_mask(parameters(), 0.5, exempt=('bias', 'layers/1'))
  assert mask['layers'][0]['bias'].all()
  assert mask['layers'][1]['kernel'].all()
  assert sum(int(m.sum()) for m in jax.tree.leaves(mask)) == 35 - round(17.5)


@pytest.mark.parametrize('scope', ['global', 'layer_normalised', 'erk'])
def test_every_scope_keeps_as_many_as_the_sparsity_says(scope):
  mask = keep_mask(parameters(), 0.5, scope)
  assert sum(int(m.sum()) for m in jax.tree.leaves(mask)) == 35 - round(17.5)


@pytest.mark.parametrize(
  ('params', 'arguments', 'message'),
  [
    ({}, {}, 'leaves of nothing, must be a pytree of float32, float16 or'),
    ({'a': np.ones(3)}, {}, r"leaves of \['float64'\], .* cast them, as by"),
    (parameters(), {'exempt': 'bias'}, "exempt='bias' must be a tuple"),
    ({'a': np.arange(3)}, {}, r"leaves of \['int64'\], must be a pytree"),
    ({'a': 1.0}, {}, r"leaves of \['float'\]"),
    (parameters(), {'sparsity': 1.0}, r'sparsity=1.0 must be in \[0, 1\)'),
    (parameters(), {'sparsity': '0.5'}, "sparsity='0.5' must be a number"),
    (parameters(), {'scope': 'layer'}, "scope='layer' is not one of"),
    (parameters(), {'exempt': ('head',)}, "'head', which matches none of"),
    (
      parameters(),
      {'sparsity': 0.9, 'exempt': ('bias',)},
      'sparsity=0.9 keeps 3 of 35 parameters, but must keep the 5 exempt',
    ),
  ],
)
def test_arguments_that_do_not_fit_are_refused(params, arguments, message):
  with pytest.raises(ValueError, match=message):
    prune(params, **{'sparsity': 0.5, **arguments})
