"""Tests of `fps_jax.defences`: what every rule guarantees, and its checks."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax import defences
from tests.helpers import defence_cases
from tests.helpers.references import defences as reference

ARGS = {
  'geometric_median': {'iterations': 4, 'smoothing': 1e-2},
  'centred_clipping': {'iterations': 2, 'radius_factor': 0.8},
  'norm_bound': {'factor': 1.0},
  'fltrust': {'max_scale': 10.0},
  'bucketing': {'size': 2},
}
NUM_CLIENTS = defence_cases.NUM_CLIENTS
PATTERNS = np.array(list(itertools.product([False, True], repeat=NUM_CLIENTS)))
CHAINS = [
  *((name, ()) for name in sorted(defences.GRAM_RULES)),
  ('fltrust', ('nnm',)),
  ('geometric_median', ('nnm', 'bucketing')),
  ('geometric_median', ('bucketing', 'nnm')),
  ('multi_krum', ('trust', 'nnm')),
]
SUM_TO_ONE = ('mean', 'krum', 'multi_krum', 'geometric_median')


def updates_and_root(seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns updates float32 [C, M] around a root float32 [M]."""
  rng = np.random.default_rng(seed)
  updates = rng.normal(size=(NUM_CLIENTS, 5)) + 0.5
  updates[:2] *= -10
  return np.float32(updates), np.float32(np.full(5, 0.4))


def gram_of(
  name: str, steps: tuple[str, ...], rows: np.ndarray, root: np.ndarray
) -> np.ndarray:
  """Returns the Gram matrix that a rule needs."""
  if defences.needs_root(name, steps):
    rows = jnp.concatenate([rows, root[None]])
  return rows @ rows.T


@functools.cache
def weigh_all(name: str, steps: tuple[str, ...], num_malicious: int = 2):
  """Returns the weights of many cohorts: grams [K, V, V], presents [K, C]."""
  weigh = defences.make(name, num_malicious, steps, ARGS).weigh
  return jax.jit(jax.vmap(weigh, (0, 0, None)))


def weights_with(
  name: str, steps: tuple[str, ...], absent: float
) -> np.ndarray:
  """Returns the weights of all patterns of absence, `absent` in their rows."""
  products = gram_of(name, steps, *updates_and_root(0))
  grams = np.tile(products, (len(PATTERNS), 1, 1))
  rows, columns = np.nonzero(~PATTERNS)
  grams[rows, columns, :] = absent
  grams[rows, :, columns] = absent
  key = jax.random.key(3)
  return np.asarray(weigh_all(name, steps)(grams, PATTERNS, key))


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'steps'), CHAINS)
def test_weights_are_finite_and_who_is_absent_influences_nothing(name, steps):
  found = weights_with(name, steps, np.nan)
  assert found.dtype == np.float32
  assert np.isfinite(found).all() and (found >= 0).all()
  assert not found[~PATTERNS].any()
  np.testing.assert_array_equal(found, weights_with(name, steps, -7.0))
  # Beyond what can be compared, whoever is present is as good as absent.
  products = gram_of(name, steps, *updates_and_root(0))
  grams = np.tile(products, (len(PATTERNS), 1, 1))
  rows, columns = np.nonzero(~PATTERNS)
  grams[rows, columns, :] = np.inf
  everyone = np.ones_like(PATTERNS)
  again = weigh_all(name, steps)(grams, everyone, jax.random.key(3))
  np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize(('name', 'steps'), CHAINS)
def test_sum_of_weights_is_at_most_one(name, steps):
  totals = weights_with(name, steps, 0.0).sum(axis=1)
  if name in SUM_TO_ONE and 'trust' not in steps:
    np.testing.assert_allclose(totals, PATTERNS.any(axis=1), rtol=1e-5)
  elif name != 'fltrust':
    assert (totals <= 1 + 1e-6).all()


@pytest.mark.parametrize(
  ('name', 'steps'), [chain for chain in CHAINS if 'bucketing' not in chain[1]]
)
def test_weights_permute_with_the_clients(name, steps):
  updates, root = updates_and_root(1)
  rng = np.random.default_rng(0)
  orders = [rng.permutation(NUM_CLIENTS) for _ in PATTERNS]
  present = np.ones_like(PATTERNS)
  present[:, 3] = False
  grams = [gram_of(name, steps, updates[order], root) for order in orders]
  presents = [row[order] for row, order in zip(present, orders, strict=True)]
  weigh, key = weigh_all(name, steps), jax.random.key(0)
  moved = weigh(np.array(grams), np.array(presents), key)
  same = gram_of(name, steps, updates, root)
  expected = weigh(np.tile(same, (len(PATTERNS), 1, 1)), present, key)
  for weights, row, order in zip(
    np.asarray(moved), np.asarray(expected), orders, strict=True
  ):
    np.testing.assert_allclose(weights, row[order], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(('name', 'steps'), CHAINS)
def test_derivative_of_weights_is_finite_whoever_is_absent(name, steps):
  """As an attacker computes it who knows the rule."""
  updates, root = updates_and_root(0)
  weigh, key = defences.make(name, 2, steps, ARGS).weigh, jax.random.key(0)

  def moved(rows, present):
    rows = jnp.where(present[:, None], rows, 0.0)
    weights = weigh(gram_of(name, steps, rows, root), present, key)
    return jnp.sum(weights @ rows)

  present = PATTERNS[::7]
  found = jax.jit(jax.vmap(jax.grad(moved), (None, 0)))(updates, present)
  assert np.isfinite(found).all() and np.any(found)


@pytest.mark.parametrize('name', sorted(defences.COORDINATE_RULES))
def test_aggregate_is_that_of_those_present_alone(name):
  updates, _ = updates_and_root(2)
  rule = defences.make(name, 1).aggregate
  aggregate = jax.jit(jax.vmap(rule))
  expected = [
    getattr(reference, name)(np.float64(updates[present]), 1)
    if present.any()
    else np.zeros(updates.shape[1])
    for present in PATTERNS
  ]
  for absent in (np.nan, np.inf, 5.0):
    rows = np.where(PATTERNS[..., None], updates, np.float32(absent))
    np.testing.assert_allclose(
      aggregate(rows, PATTERNS), expected, atol=1e-5, rtol=1e-5
    )
  for present_but_left_out in (np.nan, np.inf, np.float32(1e30)):
    rows = np.where(PATTERNS[..., None], updates, present_but_left_out)
    np.testing.assert_allclose(
      aggregate(rows, np.ones_like(PATTERNS)), expected, atol=1e-5, rtol=1e-5
    )


def test_aggregate_does_not_depend_on_the_order_of_clients():
  # As many as Bulyan needs to have two neighbours to the last: of mutually
  # nearest clients with one neighbour each, scores are equal.
  updates = np.random.default_rng(3).normal(size=(16, 3)).astype(np.float32)
  present = np.arange(16) != 5
  for name in defences.COORDINATE_RULES:
    aggregate = jax.jit(defences.make(name, 3).aggregate)
    np.testing.assert_allclose(
      aggregate(updates, present),
      aggregate(updates[::-1], present[::-1]),
      rtol=1e-5,
      atol=1e-6,
    )


def test_pre_steps_are_taken_in_the_order_given():
  updates, root = updates_and_root(4)
  grams = np.tile(gram_of('mean', (), updates, root), (len(PATTERNS), 1, 1))
  key = jax.random.key(5)
  draw = jax.jit(functools.partial(defences.PRE_STEPS['bucketing'], size=2))
  rule = functools.partial(
    reference.geometric_median, num_malicious=2, **ARGS['geometric_median']
  )
  nnm_first, nnm_last = (
    np.asarray(weigh_all('geometric_median', steps)(grams, PATTERNS, key))
    for steps in (('nnm', 'bucketing'), ('bucketing', 'nnm'))
  )
  assert np.abs(nnm_first - nnm_last).max() > 1e-2
  for number in np.flatnonzero(PATTERNS.sum(axis=1) >= 6):
    present = PATTERNS[number]
    rows = np.float64(updates[present])
    first, second = (
      [
        np.flatnonzero(row).tolist()
        for row in np.asarray(
          draw(None, present, 2, jax.random.fold_in(key, step)).matrix_CxC
        )[:, present]
        if row.any()
      ]
      for step in (0, 1)
    )

    def then_buckets(means, buckets=second):
      return reference.after_groups(rule, means, buckets)

    def then_neighbours(means):
      return reference.after_groups(rule, means, reference.nnm(means, 2))

    neighbours = reference.nnm(rows, 2)
    for found, groups, then in (
      (nnm_first, neighbours, then_buckets),
      (nnm_last, first, then_neighbours),
    ):
      np.testing.assert_allclose(
        found[number][present],
        reference.after_groups(then, rows, groups),
        atol=2e-3,
      )


def test_a_row_of_the_root_that_is_not_needed_is_ignored():
  updates, root = updates_and_root(0)
  weigh = jax.jit(defences.make('krum', 1).weigh)
  everyone, key = np.ones(NUM_CLIENTS, bool), jax.random.key(0)
  np.testing.assert_array_equal(
    weigh(gram_of('fltrust', (), updates, root), everyone, key),
    weigh(gram_of('krum', (), updates, root), everyone, key),
  )


def test_a_root_that_is_missing_raises_and_one_that_is_not_finite_weighs_none():
  weigh = jax.jit(defences.make('fltrust', 0, (), ARGS).weigh)
  key = jax.random.key(0)
  with pytest.raises(ValueError, match='a Gram matrix of 3 rows for 3 clients'):
    weigh(jnp.eye(3), jnp.ones(3, bool), key)
  products = np.ones((4, 4), np.float32)
  products[3] = products[:, 3] = np.nan
  assert weigh(products, jnp.ones(3, bool), key).tolist() == [0, 0, 0]


def test_rule_of_ones_own_is_tried_with_the_cohort_and_gives_each_a_weight(
  monkeypatch,
):
  def nearest(gram_CxC, present_C, num_malicious):
    del present_C, num_malicious
    return jax.lax.top_k(jnp.diagonal(gram_CxC), 5)[0]

  monkeypatch.setitem(defences.GRAM_RULES, 'mine', nearest)
  message = r'nearest returns an array of shape \(5,\), not \(9,\)'
  with pytest.raises(ValueError, match=message):
    defences.make('mine', 0, cohort_size=9)
  defences.make('mine', 0, cohort_size=5)
  monkeypatch.setitem(
    defences.COORDINATE_RULES, 'weights', lambda rows, present, f: present
  )
  with pytest.raises(ValueError, match=r'shape \(4,\), not \(5,\)'):
    defences.make('weights', 0, cohort_size=4)


def test_weights_of_a_rule_of_ones_own_below_zero_count_as_zero(monkeypatch):
  monkeypatch.setitem(
    defences.GRAM_RULES, 'mine', lambda gram, present, f: jnp.diagonal(gram) - 2
  )
  weigh = defences.make('mine', 0).weigh
  weights = weigh(
    jnp.diag(jnp.float32([1, 2, 5])), jnp.ones(3, bool), jax.random.key(0)
  )
  assert weights.tolist() == [0, 0, 3]


def test_defences_say_what_they_are():
  for name in (*defences.GRAM_RULES, *defences.COORDINATE_RULES):
    defence = defences.make(name, 1, (), ARGS)
    assert (defence.weigh is None) == (name in defences.COORDINATE_RULES)
    assert (defence.aggregate is None) == (name in defences.GRAM_RULES)
    assert defence.needs_root == (name == 'fltrust')
    assert defence.selects_one == (name == 'krum')
  assert defences.make('mean', 1, ('trust',), ARGS).needs_root


def test_krum_selects_one_where_a_bucket_may_hold_one():
  assert not defences.make('krum', 1, ('nnm',)).selects_one
  defence = defences.make('krum', 0, ('bucketing',), ARGS)
  assert defence.selects_one
  weigh, everyone = jax.jit(defence.weigh), np.ones(7, bool)
  # Of seven clients one is alone; that at zero is nearest to all buckets.
  products = np.diag(np.float32([0, 1, 1, 1, 1, 1, 1]))
  numbers = {
    np.count_nonzero(weigh(products, everyone, jax.random.key(seed)))
    for seed in range(40)
  }
  assert numbers == {1, 2}


@pytest.mark.parametrize(
  ('factor', 'more', 'names'),
  [
    (2, 3, ['krum', 'multi_krum']),
    (
      2,
      1,
      [
        'trimmed_mean',
        'median',
        'geometric_median',
        'centred_clipping',
        'norm_bound',
        'nnm',
      ],
    ),
    (4, 3, ['bulyan']),
    (0, 1, ['mean', 'fltrust', 'bucketing', 'trust']),
  ],
)
def test_check_accepts_as_many_as_a_rule_bears(factor, more, names):
  for name, f, size in itertools.product(names, range(4), range(1, 17)):
    if size >= factor * f + more:
      defences.check(name, f, size)
    else:
      message = f"'{name}' bears num_malicious={f} of {factor * f + more} cl"
      with pytest.raises(ValueError, match=message):
        defences.check(name, f, size)


def test_rule_added_from_outside_is_what_it_is_said_to_be(monkeypatch):
  monkeypatch.setitem(defences.GRAM_RULES, 'mine', defences.GRAM_RULES['mean'])
  assert defences.make('mine', 0)[2:] == (False, False)
  with pytest.raises(ValueError, match='num_malicious=2 of 5 clients'):
    defences.check('mine', 2, 4)
  monkeypatch.setitem(defences.LEAST_COHORT, 'mine', (1, 1))
  defences.check('mine', 2, 3)
  monkeypatch.setattr(defences.defence, 'SELECTING_RULES', {'mine'})
  assert defences.make('mine', 0).selects_one
  monkeypatch.setattr(defences.defence, 'ROOT_RULES', {'mine'})
  with pytest.raises(ValueError, match="needs the root update's row"):
    defences.make('mine', 0).weigh(
      jnp.eye(3), jnp.ones(3, bool), jax.random.key(0)
    )


def test_check_counts_buckets():
  defences.check('krum', 2, 13, ('bucketing',), ARGS)
  with pytest.raises(ValueError, match=r'of 7 clients .* given 6'):
    defences.check('krum', 2, 12, ('bucketing',), ARGS)
  with pytest.raises(ValueError, match="'nnm' bears num_malicious=2 of 5"):
    defences.check('mean', 2, 8, ('bucketing', 'nnm'), ARGS)
  with pytest.raises(ValueError, match='size=0 must be a whole number'):
    defences.check('krum', 2, 12, ('bucketing',), {'bucketing': {'size': 0}})


def test_unknown_names_raise():
  for refuse in (
    functools.partial(defences.make, num_malicious=1),
    functools.partial(defences.check, num_malicious=1, cohort_size=9),
  ):
    with pytest.raises(ValueError, match=r"'krumm' is not one of \['bulyan'"):
      refuse('krumm')
    with pytest.raises(ValueError, match=r"'nn' is not one of \['bucketing'"):
      refuse('krum', pre_steps=('nn',))
    with pytest.raises(ValueError, match=r'mix by inner products, and defence'):
      refuse('median', pre_steps=('nnm',))
  with pytest.raises(ValueError, match="args name 'krumm', not one of"):
    defences.make('krum', 1, args={'krumm': {}})


@pytest.mark.parametrize('f', [-1, 0.5, None])
def test_numbers_of_malicious_clients_out_of_range_raise(f):
  for refuse in (
    defences.make,
    functools.partial(defences.check, cohort_size=9),
  ):
    with pytest.raises(ValueError, match=f'num_malicious={f} must be a whole'):
      refuse('krum', num_malicious=f)
  with pytest.raises(ValueError, match='cohort_size=0 must be a whole number'):
    defences.check('krum', 0, 0)


@pytest.mark.parametrize(
  ('name', 'steps', 'args', 'message'),
  [
    ('krum', (), {'krum': {'size': 1}}, r"'krum' takes .* \[\]: .*'size'"),
    ('norm_bound', (), {}, r"\['factor'\]: missing .*'factor'"),
    ('norm_bound', (), {'norm_bound': {'factor': 0}}, 'factor=0 must be abov'),
    ('krum', ('bucketing',), {}, r"\['size'\]: missing .*'size'"),
    ('krum', ('bucketing',), {'bucketing': {'size': 0}}, 'size=0 must be a wh'),
    ('krum', (), {'bucketing': {'sizes': 2}}, r"\['size'\]: .*'sizes?'"),
  ],
)
def test_wrong_arguments_raise(name, steps, args, message):
  with pytest.raises(ValueError, match=message):
    defences.make(name, 1, steps, args)
