"""A trace of a round bears the names of its phases."""

import re

import jax
import pytest

from fps_jax.jobs.throughput.phases import PHASES
from fps_jax.runs import profiling, train
from tests.helpers import small

pytestmark = pytest.mark.slow


def test_operations_of_a_round_bear_the_names_of_their_phases():
  simulation = small.make(small.make_config())
  programs = simulation.programs(
    simulation.init_state(), simulation.plan(0), simulation.put_data()
  )
  text = ''.join(
    program.lower(*arguments).as_text(debug_info=True)
    for program, arguments in programs
  )
  names = set(re.findall(r'\w+', text))
  assert names >= set(PHASES) - {'other'}


@pytest.mark.parametrize('num_rounds', [1, 2])
def test_one_round_of_a_run_is_traced(tmp_path, num_rounds: int):
  config = small.make_config(sharing__scheme='none')
  train.train(
    small.make(config),
    num_rounds,
    1,
    lambda row: None,
    extras=train.Extras(profile=tmp_path / 'profile'),
  )
  (path,) = (tmp_path / 'profile').rglob('*.xplane.pb')
  trace = jax.profiler.ProfileData.from_file(str(path))
  modules = {
    dict(event.stats).get('hlo_module')
    for plane in trace.planes
    for line in plane.lines
    for event in line.events
  }
  # Both programs of the round and its evaluation.
  assert modules >= {'jit_collect_updates', 'jit_step', 'jit_evaluate'}


def test_without_a_folder_nothing_is_traced():
  with profiling.trace(None, before=None) as wait:
    assert wait(3) == 3
