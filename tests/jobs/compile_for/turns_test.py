"""How often loops turn, by the plan: of all that a compiler does not know."""

import numpy as np
import pytest

from fps_jax.jobs.compile_for import hlo, kernels
from fps_jax.jobs.compile_for.plan import Turns
from fps_jax.runs.programs import compile_lowered, lower, round_programs
from tests.helpers import small

_IN_TRAINING = 'jit(collect_updates)/while/body/train'


@pytest.mark.parametrize(
  ('scope', 'turns'),
  [
    ('jit(collect_updates)/while', 2),
    ('jit(collect_updates)/shard_map/while', 2),
    ('jit(collect_updates)/while/body/while', 3),
    ('jit(collect_updates)/while/body/closed_call/while', 3),
    ('jit(collect_updates)/audit/while', 3),
    (f'{_IN_TRAINING}/vmap()/while', 60),
    # Of the cipher, and of a model.
    ('jit(collect_updates)/while/body/while/body/vmap(share)/while', None),
    (f'{_IN_TRAINING}/vmap()/while/body/while', None),
    ('', None),
  ],
)
def test_loop_turns_as_the_plan_says(scope: str, turns: int | None):
  vmapped = Turns(chunks=2, clients=1, steps=60, tiles=3, examples=1)
  assert vmapped.of_loop(scope) == turns


def test_clients_in_sequence_are_a_loop_around_their_steps():
  turns = Turns(chunks=2, clients=5, steps=60, tiles=3, examples=1)
  assert turns.of_loop(f'{_IN_TRAINING}/while') == 5
  assert turns.of_loop(f'{_IN_TRAINING}/while/body/while') == 60


@pytest.mark.parametrize('execution', ['vmap', 'sequential'])
def test_turns_are_those_of_the_device_with_the_most_work(execution: str):
  simulation = small.make(
    small.make_config(
      perf__execution=execution,
      perf__chunk_size=3,
      perf__num_devices=1,
      data__partition='dirichlet',
    )
  )
  plan = simulation.plan(0)
  steps = plan.cohort.num_steps
  assert len(set(steps)) > 1
  turns = Turns.of(simulation, plan, num_devices=1)
  assert turns.chunks == -(-len(steps) // 3)
  batch_size = plan.cohort.indices.shape[2]
  if execution == 'vmap':
    longest = [max(steps[i : i + 3]) for i in range(0, len(steps), 3)]
    assert turns.examples == 3 * sum(longest) * batch_size
    assert turns.steps == int(np.ceil(np.mean(longest)))
  else:
    assert turns.examples == sum(steps) * batch_size
    assert turns.clients == 3
  tiling = simulation.round.method.tiling
  assert turns.tiles == -(-(int(plan.pruning.keep_count) + 1) // tiling.size)


@pytest.mark.slow
@pytest.mark.parametrize('execution', ['vmap', 'sequential'])
def test_every_loop_of_a_round_is_known_but_those_of_rejection(execution: str):
  config = small.make_config(perf__execution=execution, perf__num_devices=1)
  simulation = small.make(config)
  turns = Turns.of(simulation, simulation.plan(0), 1)
  for call in round_programs(
    simulation, simulation.plan(0), simulation.put_data()
  ):
    compiled = compile_lowered(lower(call), simulation.mesh)
    counted = kernels.count(hlo.parse(compiled.as_text()), turns.of_loop)
    assert not counted.callbacks
    for loop in counted.unknown:
      is_of_cipher = 'share' in loop.scope or 'audit' in loop.scope
      assert loop.source == 'plan' or is_of_cipher, loop.scope
