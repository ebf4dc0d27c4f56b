"""Tests of `fps_jax.data.cohort`: every guarantee of `CohortPlanner`."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import pytest

from fps_jax.core.rng import Stream, host_generator
from fps_jax.core.seeding import generators
from fps_jax.core.types import CohortPlan
from fps_jax.data import cohort
from fps_jax.data.cohort import Batching, CohortPlanner, weights_of

# Sample counts below, at and above the batch size, and multiples of it.
COUNTS = (5, 1, 12, 4, 9, 3, 8, 7)


def make_partition(counts: tuple[int, ...] = COUNTS) -> list[np.ndarray]:
  """Returns disjoint rows, in no order, of clients of these sizes."""
  rows = np.random.default_rng(0).permutation(sum(counts)).astype(np.int32)
  return np.split(rows, np.cumsum(counts)[:-1])


def make_planner(partition=None, **changes: Any) -> CohortPlanner:
  arguments = {'seed': 3, 'cohort_size': 5, **changes}
  batching = {'batch_size': 4, 'epochs': 2}
  for name in ('batch_size', 'epochs', 'steps'):
    if name in arguments:
      batching[name] = arguments.pop(name)
  partition = make_partition() if partition is None else partition
  return CohortPlanner(partition, batching=Batching(**batching), **arguments)


def plan_of(planner: CohortPlanner, round_number: int) -> CohortPlan:
  """Returns a plan as NumPy arrays."""
  return jax.tree.map(np.asarray, planner.plan(round_number))


def batches_by_client(plan: CohortPlan) -> dict[int, np.ndarray]:
  """Returns what each client of a plan trains on: its int [steps, B]."""
  return {
    int(client): indices[:steps]
    for client, indices, steps in zip(
      plan.client_ids, plan.indices, plan.num_steps, strict=True
    )
    if client >= 0
  }


def assert_plans_equal(one: CohortPlan, other: CohortPlan):
  for name in ('client_ids', 'indices', 'num_steps', 'num_examples'):
    np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


MODES = [
  {'epochs': 1},
  {'epochs': 3},
  {'steps': 1},
  {'steps': 7},
  {'dropout_probability': 0.4},
  {'steps': 4, 'dropout_probability': 0.4},
]


@pytest.mark.parametrize('mode', MODES)
def test_plan_depends_on_seed_and_round_alone(mode: dict[str, Any]):
  planner, again = make_planner(**mode), make_planner(**mode)
  forwards = [plan_of(planner, r) for r in range(4)]
  backwards = [plan_of(again, r) for r in reversed(range(4))][::-1]
  for one, other in zip(forwards, backwards, strict=True):
    assert_plans_equal(one, other)


@pytest.mark.parametrize('mode', MODES)
def test_other_seeds_and_rounds_give_other_plans(mode: dict[str, Any]):
  plan = plan_of(make_planner(**mode), 0)
  for other in (
    plan_of(make_planner(**mode), 1),
    plan_of(make_planner(seed=4), 0),
  ):
    assert not np.array_equal(plan.indices, other.indices)


@pytest.mark.parametrize('mode', [{'epochs': 2}, {'steps': 5}])
def test_batches_do_not_depend_on_who_else_takes_part(mode: dict[str, Any]):
  partition = make_partition()
  everyone = make_planner(cohort_size=len(partition), **mode)
  # Clients 0 .. 3 own other rows here; the others own what they owned.
  changed = [rows + 100 for rows in partition[:4]] + partition[4:]
  some = make_planner(changed, cohort_size=6, dropout_probability=0.3, **mode)
  shared = 0
  for round_number in range(5):
    expected = batches_by_client(plan_of(everyone, round_number))
    actual = batches_by_client(plan_of(some, round_number))
    for client in actual.keys() & {4, 5, 6, 7}:
      np.testing.assert_array_equal(actual[client], expected[client])
      shared += 1
  assert 5 < shared < 20  # Not everyone took part.


@pytest.mark.parametrize('mode', [{'epochs': 2}, {'steps': 5}])
def test_clients_own_plan_is_its_row_of_the_rounds(mode: dict[str, Any]):
  """In every attempt; it is made of its own examples and the largest count."""
  planner = make_planner(**mode)
  for attempt in (0, 2):
    plan = planner.plan(3, attempt)
    for row, client in enumerate(plan.client_ids):
      own = planner.plan_client(int(client), 3, attempt)
      expected = jax.tree.map(lambda rows, r=row: rows[r : r + 1], plan)
      jax.tree.map(np.testing.assert_array_equal, own, expected)


def test_batches_change_with_the_round_and_the_seed():
  def batches(seed, round_number):
    planner = make_planner(seed=seed, cohort_size=len(COUNTS))
    return batches_by_client(plan_of(planner, round_number))[2]

  assert not np.array_equal(batches(3, 0), batches(3, 1))
  assert not np.array_equal(batches(3, 0), batches(4, 0))


def test_clients_do_not_shuffle_alike():
  same_size = [np.arange(12) + 12 * client for client in range(4)]
  planner = make_planner(same_size, cohort_size=4, epochs=1)
  batches = batches_by_client(plan_of(planner, 0))
  orders = {
    tuple(rows.ravel() - 12 * client) for client, rows in batches.items()
  }
  assert len(orders) == 4


@pytest.mark.parametrize('epochs', [1, 2, 5])
@pytest.mark.parametrize('batch_size', [1, 4, 12, 50])
def test_each_epoch_holds_each_example_exactly_once(
  epochs: int, batch_size: int
):
  partition = make_partition()
  planner = make_planner(
    partition,
    cohort_size=len(partition),
    batch_size=batch_size,
    epochs=epochs,
  )
  for client, batches in batches_by_client(plan_of(planner, 2)).items():
    owned = np.sort(partition[client])
    for epoch in np.split(batches, epochs):
      rows = epoch.ravel()
      np.testing.assert_array_equal(np.sort(rows[rows >= 0]), owned)
      # Only the last batch of an epoch is smaller, with its padding last.
      assert np.all(rows[: len(owned)] >= 0)
      assert np.all(rows[len(owned) :] == -1)
      assert len(epoch) == -(-len(owned) // batch_size)


def test_epochs_of_a_round_are_shuffled_anew():
  planner = make_planner(cohort_size=len(COUNTS), epochs=2)
  first, second = np.split(batches_by_client(plan_of(planner, 0))[2], 2)
  assert not np.array_equal(first, second)


@pytest.mark.parametrize('steps', [1, 3, 10])
@pytest.mark.parametrize('batch_size', [1, 4, 50])
def test_steps_mode_goes_round_the_examples(steps: int, batch_size: int):
  partition = make_partition()
  planner = make_planner(
    partition, cohort_size=len(partition), batch_size=batch_size, steps=steps
  )
  plan = plan_of(planner, 1)
  assert plan.indices.shape == (len(partition), steps, batch_size)
  np.testing.assert_array_equal(plan.num_steps, steps)
  for client, batches in batches_by_client(plan).items():
    owned = partition[client]
    filled = min(batch_size, len(owned))
    assert np.all(batches[:, filled:] == -1)
    rows = batches[:, :filled].ravel()
    for start in range(0, len(rows), len(owned)):
      one_pass = rows[start : start + len(owned)]
      assert len(set(one_pass)) == len(one_pass)
      assert set(one_pass) <= set(owned)


def test_steps_mode_shuffles_each_pass_anew():
  planner = make_planner([np.arange(30)], cohort_size=1, steps=15)
  rows = batches_by_client(plan_of(planner, 0))[0].ravel()
  assert not np.array_equal(rows[:30], rows[30:])


@pytest.mark.parametrize('mode', MODES)
def test_every_round_has_the_same_shapes_and_types(mode: dict[str, Any]):
  planner = make_planner(**mode)
  # Room for the largest client, also in rounds that it sits out.
  steps = mode.get('steps') or mode.get('epochs', 2) * 3
  for round_number in range(6):
    plan = plan_of(planner, round_number)
    assert plan.indices.shape == (5, steps, 4)
    for field in (plan.client_ids, plan.num_steps, plan.num_examples):
      assert field.shape == (5,)
      assert field.dtype == plan.indices.dtype == np.int32


@pytest.mark.parametrize('mode', MODES)
def test_rows_are_sorted_by_steps_with_padding_last(mode: dict[str, Any]):
  planner = make_planner(**mode)
  for round_number in range(6):
    plan = plan_of(planner, round_number)
    present = plan.client_ids >= 0
    assert np.all(np.diff(plan.num_steps) <= 0)
    assert np.all(np.diff(present.astype(int)) <= 0)
    assert np.all(plan.num_steps[present] >= 1)
    assert np.all(plan.client_ids[~present] == -1)
    assert np.all(plan.num_steps[~present] == 0)
    assert np.all(plan.num_examples[~present] == 0)
    assert np.all(plan.indices[~present] == -1)


@pytest.mark.parametrize('mode', MODES)
def test_num_steps_counts_the_steps_with_an_example(mode: dict[str, Any]):
  plan = plan_of(make_planner(**mode), 0)
  holds_example = np.any(plan.indices >= 0, axis=2)
  np.testing.assert_array_equal(plan.num_steps, holds_example.sum(axis=1))
  for row, steps in zip(holds_example, plan.num_steps, strict=True):
    assert np.all(row[:steps])


@pytest.mark.parametrize('mode', MODES)
def test_clients_are_distinct_and_weigh_what_they_own(mode: dict[str, Any]):
  plan = plan_of(make_planner(**mode), 0)
  clients = [int(c) for c in plan.client_ids if c >= 0]
  assert len(set(clients)) == len(clients)
  assert list(plan.num_examples[: len(clients)]) == [COUNTS[c] for c in clients]


def test_weights_are_rounded_to_parts_of_the_largest_at_least_one():
  counts = np.array([1638, 820, 500, 400, 1], np.int32)
  np.testing.assert_array_equal(weights_of(counts, True), counts)
  found = weights_of(counts, True, largest_weight=10)
  assert found.tolist() == [10, 5, 3, 2, 1]
  assert found.dtype == np.int32
  assert weights_of(counts, False, largest_weight=10).tolist() == [1] * 5


def test_max_count_is_the_largest_sample_count():
  assert make_planner().max_count == max(COUNTS)
  assert make_planner().cohort_size == 5


def test_every_client_is_drawn_equally_often():
  planner = make_planner(cohort_size=2)
  rounds = 400
  drawn = np.concatenate(
    [plan_of(planner, r).client_ids for r in range(rounds)]
  )
  counts = np.bincount(drawn, minlength=len(COUNTS))
  # Each count is Binomial(400, 1 / 4): standard deviation 8.7.
  assert np.all(np.abs(counts - rounds / 4) < 4.5 * 8.7)


def test_without_dropout_everyone_drawn_reports():
  plan = plan_of(make_planner(cohort_size=len(COUNTS)), 0)
  assert sorted(plan.client_ids.tolist()) == list(range(len(COUNTS)))


def test_dropout_has_its_probability_and_is_independent():
  planner = make_planner(cohort_size=8, dropout_probability=0.3, epochs=1)
  rounds = 300
  reports = np.zeros((rounds, 8))
  for round_number in range(rounds):
    clients = np.asarray(plan_of(planner, round_number).client_ids)
    reports[round_number, clients[clients >= 0]] = 1
  # 2,400 draws: standard deviation 0.0094.
  np.testing.assert_allclose(reports.mean(), 0.7, atol=0.04)
  # The variance of a sum of independent ones: 8 x 0.3 x 0.7, to 8 % or so.
  np.testing.assert_allclose(reports.sum(axis=1).var(), 1.68, rtol=0.35)
  # Each client's share: standard deviation 0.026.
  np.testing.assert_allclose(reports.mean(axis=0), 0.7, atol=0.12)


def test_dropout_leaves_the_draw_of_clients_as_it_is():
  partition = [rows[:4] for rows in make_partition((4,) * 20)]
  all_report = make_planner(partition, cohort_size=10)
  some_drop = make_planner(partition, cohort_size=10, dropout_probability=0.5)
  for round_number in range(5):
    drawn = set(plan_of(all_report, round_number).client_ids.tolist())
    reporting = set(plan_of(some_drop, round_number).client_ids.tolist()) - {-1}
    assert reporting < drawn


def test_no_two_draws_of_any_plan_share_a_generator(
  monkeypatch: pytest.MonkeyPatch,
):
  used = []

  def recorded(*arguments: int) -> np.random.Generator:
    used.append(arguments)
    return host_generator(*arguments)

  def all_recorded(
    entropy: Sequence[int], last: np.ndarray
  ) -> Iterator[np.random.Generator]:
    used.extend((*entropy, number) for number in last.tolist())
    return generators(entropy, last)

  monkeypatch.setattr(cohort, 'host_generator', recorded)
  monkeypatch.setattr(cohort, 'generators', all_recorded)
  planner = make_planner(dropout_probability=0.3)
  for round_number in range(3):
    planner.plan(round_number)
  # Who is drawn, who drops out, and a shuffle for each client that reports.
  assert len(used) > 3 * 2
  assert len(set(used)) == len(used)


def cut_reference(
  planner: CohortPlanner, client: int, generator: np.random.Generator
) -> np.ndarray:
  """Cuts a client's examples batch by batch."""
  owned, batching = planner.partition[client], planner.batching
  batches: list[np.ndarray] = []
  if batching.steps:
    size = min(batching.batch_size, len(owned))
    order = np.zeros(0, np.int32)
    while len(order) < size * batching.steps:
      order = np.concatenate([order, generator.permutation(owned)])
    batches = [order[size * i :][:size] for i in range(batching.steps)]
  else:
    size = batching.batch_size
    for _ in range(batching.epochs):
      order = generator.permutation(owned)
      batches += [order[i : i + size] for i in range(0, len(order), size)]
  rows = [
    [*rows, *[-1] * (batching.batch_size - len(rows))] for rows in batches
  ]
  return np.array(rows, np.int32)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('attempt', [0, 2])
def test_batches_are_cut_by_each_clients_own_generator(
  mode: dict[str, Any], attempt: int
):
  planner = make_planner(**mode)
  plan = jax.tree.map(np.asarray, planner.plan(3, attempt))
  for client, indices in zip(plan.client_ids, plan.indices, strict=True):
    if client < 0:
      continue
    ids = (3, attempt, client) if attempt else (3, client)
    generator = host_generator(planner.seed, Stream.BATCHES, *ids)
    expected = cut_reference(planner, client, generator)
    np.testing.assert_array_equal(indices[: len(expected)], expected)
    assert np.all(indices[len(expected) :] == -1)


def test_round_in_which_nobody_reports_is_all_padding():
  planner = make_planner(cohort_size=1, dropout_probability=0.9)
  plans = [plan_of(planner, r) for r in range(20)]
  silent = [plan for plan in plans if plan.client_ids[0] < 0]
  assert silent
  for plan in silent:
    assert np.all(plan.indices == -1)
    assert plan.num_steps.tolist() == plan.num_examples.tolist() == [0]


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'cohort_size': 0}, r'cohort_size=0 must be in \[1, num_clients=8\]'),
    ({'cohort_size': 9}, r'cohort_size=9 must be in \[1, num_clients=8\]'),
    ({'batch_size': 0}, 'batch_size=0 and .* must be at least 1'),
    ({'epochs': 0}, 'epochs=0 must be at least 1'),
    ({'steps': -1}, 'steps=-1 at least 0'),
    ({'dropout_probability': -0.1}, r'=-0\.1 must be in \[0, 1\)'),
    ({'dropout_probability': 1.0}, r'=1\.0 must be in \[0, 1\)'),
    ({'dropout_probability': np.nan}, r'=nan must be in \[0, 1\)'),
  ],
)
def test_argument_out_of_range_raises(changes: dict[str, Any], message: str):
  with pytest.raises(ValueError, match=message):
    make_planner(**changes)


def test_clients_that_weigh_the_same_count_as_one_example():
  planner, counted = make_planner(weighs_examples=False), make_planner()
  assert planner.max_count == 1
  assert counted.max_count == max(COUNTS)
  plan, other = plan_of(planner, 0), plan_of(counted, 0)
  np.testing.assert_array_equal(plan.num_examples, plan.client_ids >= 0)
  np.testing.assert_array_equal(plan.indices, other.indices)


def test_malicious_clients_are_marked_in_every_round():
  planner = make_planner(malicious=(2, 5), dropout_probability=0.4)
  marked = [plan_of(planner, r) for r in range(6)]
  assert any(plan.malicious.any() for plan in marked)
  for plan in marked:
    np.testing.assert_array_equal(
      plan.malicious, np.isin(plan.client_ids, (2, 5))
    )
