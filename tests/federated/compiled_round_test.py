"""A round as XLA compiles it for a GPU, which need not be there."""

import pytest

from fps_jax.config.build import build
from fps_jax.core.devices import make_mesh
from fps_jax.data import load
from fps_jax.data.on_devices import PlacedDataset
from tests.helpers import small

pytest.importorskip('jax_cuda13_plugin')
hlo = pytest.importorskip('fps_jax.jobs.compile_for.hlo')


@pytest.mark.slow
def test_round_launches_few_kernels_and_waits_for_no_step():
  from fps_jax.jobs.compile_for import kernels, target
  from fps_jax.runs import programs

  config = small.make_config(perf__chunk_size=4, perf__num_devices=1)
  mesh = make_mesh(1, target.parse('cuda:h200').devices())
  simulation = build(config, 0, PlacedDataset(load(config.data.source), mesh))
  plan, data = simulation.plan(0), simulation.put_data()
  collect, _ = programs.round_programs(simulation, plan, data)
  compiled = programs.compile_lowered(programs.lower(collect), mesh)
  counted = kernels.count(hlo.parse(compiled.as_text() or ''))
  assert not counted.callbacks
  # Of the audit alone, once a round.
  assert all('/audit/' in loop.scope for loop in counted.unknown)
  _, num_steps, _ = plan.cohort.indices.shape
  chunks, steps, tiles = (
    loop
    for loop in counted.loops
    if '/prune/' not in loop.scope and loop.source == 'program'
  )
  assert (chunks.turns, steps.turns) == (2, num_steps)
  assert '/train/' in steps.scope
  assert steps.kernels <= 20
  assert tiles.kernels <= 20
  others = chunks.kernels - steps.kernels * num_steps
  assert others - tiles.kernels * tiles.turns <= 60
