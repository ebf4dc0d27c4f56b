"""Tests of attacks that know the defence: ascent, trust, and what is hidden."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax import defences
from fps_jax.attacks import knowledge, updates
from fps_jax.attacks.knowledge import KnownDefence, KnownSeed
from tests.helpers.cohorts import NUM_VALUES, last_is_malicious, run

NUM_CLIENTS, NUM_MALICIOUS, SIZE = 10, 2, 24
PRESENT = np.ones(NUM_CLIENTS, bool)
MALICIOUS = np.arange(NUM_CLIENTS) < NUM_MALICIOUS
KEY = jax.random.key(0)
# What servers of a tiny problem add up: 6 sums of 4 values, and one of 12.
SUMS_KxM = np.kron(np.eye(6), [[1, -1, 1, 1]])
ROOT_M = np.float32(np.linspace(0.5, 1.5, SIZE))


@functools.cache
def trained() -> np.ndarray:
  """Returns updates that differ about as much as they are long."""
  rng = np.random.default_rng(3)
  return np.float32(0.4 + rng.normal(size=(NUM_CLIENTS, SIZE)))


def honest_mean() -> np.ndarray:
  return trained()[NUM_MALICIOUS:].mean(axis=0)


def known(name: str, *pre_steps: str) -> KnownDefence:
  """Returns what malicious clients know of a defence."""
  args = {
    'norm_bound': {'factor': 1.0},
    'geometric_median': {'iterations': 4, 'smoothing': 1e-2},
    'fltrust': {'max_scale': 10.0},
  }
  made = defences.make(name, NUM_MALICIOUS, pre_steps, args, NUM_CLIENTS)
  root_M = jnp.asarray(ROOT_M) if made.needs_root else None
  return KnownDefence(made.weigh, made.aggregate, root_M)


def with_seed(defence: KnownDefence) -> KnownDefence:
  """Returns the same with the seed of a sketch of 6 sums."""
  rows = np.concatenate([SUMS_KxM, ROOT_M[None]])
  seen_MxM = np.linalg.pinv(rows) @ rows
  seed = KnownSeed(
    lambda values: jnp.matmul(values, np.float32(SUMS_KxM.T)),
    lambda values: values - jnp.matmul(np.float32(seen_MxM), values),
  )
  return defence._replace(seed=seed, deviation=np.sqrt(2 / 6))


def send(attack: str, defence: KnownDefence | None, **args) -> np.ndarray:
  """Returns what malicious clients send, [M], which all of them do."""
  attacking = updates.make(attack, **args)
  # Who lies is known, so that a program is one attack's alone.
  sent_CxM = np.asarray(
    jax.jit(
      lambda updates_CxM: attacking(
        updates_CxM, MALICIOUS, PRESENT, KEY, None, defence
      )
    )(trained())
  )
  np.testing.assert_array_equal(sent_CxM[0], sent_CxM[1])
  return sent_CxM[0]


def outcome(update_M: np.ndarray, defence: KnownDefence) -> tuple[float, float]:
  """Returns how far the aggregate falls short, and the malicious' weight."""
  sent_CxM = np.where(MALICIOUS[:, None], update_M, trained())
  rows = sent_CxM
  if defence.root_M is not None:
    rows = np.concatenate([sent_CxM, ROOT_M[None]])
  weights_C = np.full(NUM_CLIENTS, 1 / NUM_CLIENTS)
  if defence.aggregate is not None:
    aggregate_M = np.asarray(defence.aggregate(sent_CxM, PRESENT))
  else:
    weigh = jax.jit(defence.weigh)
    weights_C = np.asarray(weigh(rows @ rows.T, PRESENT, KEY))
    aggregate_M = weights_C @ sent_CxM
  mean_M = honest_mean()
  short = (mean_M - aggregate_M) @ mean_M / np.linalg.norm(mean_M)
  return short, weights_C[MALICIOUS].sum() / weights_C.sum()


RULES = [
  ('multi_krum', 'nnm'),
  ('geometric_median',),
  ('fltrust',),
  ('norm_bound', 'trust'),
  ('median',),
  ('bulyan',),
]


@pytest.mark.slow
@pytest.mark.parametrize('rule', RULES, ids='-'.join)
def test_ascent_moves_the_aggregate_further_than_other_attacks_at_its_weight(
  rule: tuple[str, ...],
):
  defence, keep = known(*rule), 0.8
  harm, weight = outcome(send('ascent', defence, keep=keep), defence)
  assert weight >= keep * NUM_MALICIOUS / NUM_CLIENTS
  for other in ('alie', 'min_max', 'min_sum'):
    other_harm, other_weight = outcome(send(other, defence), defence)
    keeps = other_weight >= keep * NUM_MALICIOUS / NUM_CLIENTS
    assert harm > other_harm * 1.01 or not keeps, (other, harm, other_harm)


@pytest.mark.parametrize('goal', ['against', 'away'])
def test_ascent_with_a_known_seed_keeps_all_weight_as_far_as_it_may_reach(
  goal: str,
):
  defence = with_seed(known('multi_krum'))
  sent_M = send('ascent', defence, goal=goal, reach=8.0)
  offset_M, mean_M = sent_M - honest_mean(), honest_mean()
  np.testing.assert_allclose(SUMS_KxM @ offset_M, 0, atol=1e-4)
  deviations = trained()[NUM_MALICIOUS:] - mean_M
  spread = np.sqrt(np.mean(np.sum(deviations**2, axis=1)))
  assert np.linalg.norm(offset_M) == pytest.approx(8 * spread, rel=1e-4)
  # Without it, as far is so far that nobody is chosen.
  assert outcome(sent_M, defence)[1] == 0
  assert outcome(send('ascent', known('multi_krum')), known('multi_krum'))[1]


@pytest.mark.parametrize('cosine', [0.2, 0.7, 1.0])
def test_attack_on_trust_keeps_its_cosine_and_the_trusted_norm(cosine: float):
  sent_M = send('trusted_direction', known('fltrust'), cosine=cosine)
  norms = np.linalg.norm(sent_M), np.linalg.norm(ROOT_M)
  assert norms[0] == pytest.approx(norms[1], rel=1e-5)
  assert sent_M @ ROOT_M / np.prod(norms) == pytest.approx(cosine, abs=1e-5)
  # All else of it goes against the honest mean.
  rest_M = sent_M - cosine * ROOT_M
  mean_rest_M = honest_mean() - honest_mean() @ ROOT_M / norms[1] ** 2 * ROOT_M
  sine = np.sqrt(1 - cosine**2)
  expected = -sine * norms[1] * np.linalg.norm(mean_rest_M)
  assert rest_M @ mean_rest_M == pytest.approx(expected, abs=1e-3)


def test_trusted_update_is_sent_where_the_mean_goes_its_way():
  cohorts = last_is_malicious(np.linspace(1.0, 2.0, NUM_VALUES))
  sent = run(cohorts, 'trusted_direction')
  np.testing.assert_allclose(sent, cohorts.updates, rtol=1e-5)


def test_what_is_hidden_from_a_known_seed_is_seen_as_the_honest_mean():
  sent_M = send('hidden', with_seed(known('fltrust')))
  offset_M = sent_M - honest_mean()
  np.testing.assert_allclose(SUMS_KxM @ offset_M, 0, atol=1e-4)
  assert ROOT_M @ offset_M == pytest.approx(0, abs=1e-3)
  # All else is there, for as many clients as it takes.
  own_M = trained()[:NUM_MALICIOUS].mean(axis=0) - honest_mean()
  factor = NUM_CLIENTS / NUM_MALICIOUS
  assert offset_M @ own_M == pytest.approx(offset_M @ offset_M / factor, 1e-4)
  assert np.linalg.norm(offset_M) > factor * 0.5 * np.linalg.norm(own_M)


@pytest.mark.parametrize('deviation', [0.0, 0.5])
def test_what_is_hidden_is_as_far_as_the_median_client_and_a_deviation_more(
  deviation: float,
):
  defence = known('multi_krum')._replace(deviation=deviation)
  sent_M = send('hidden', defence, deviations=2.0)
  squares = np.sum((trained()[NUM_MALICIOUS:] - honest_mean()) ** 2, axis=1)
  square = np.sum((sent_M - honest_mean()) ** 2)
  assert square == pytest.approx(np.median(squares) * (1 + 2 * deviation), 1e-4)
  own_M = trained()[:NUM_MALICIOUS].mean(axis=0) - honest_mean()
  toward = (sent_M - honest_mean()) @ own_M / np.linalg.norm(own_M)
  assert toward == pytest.approx(np.sqrt(square), rel=1e-4)


@pytest.mark.parametrize('attack', ['ascent', 'hidden', 'trusted_direction'])
def test_equal_knowledge_gives_equal_updates(attack: str):
  defence = known('fltrust')
  first, second = send(attack, defence), send(attack, defence)
  np.testing.assert_array_equal(first, second)


def test_knowledge_without_a_defence_is_that_of_none():
  given = knowledge.know(trained(), MALICIOUS, PRESENT)
  assert given.defence == KnownDefence()
