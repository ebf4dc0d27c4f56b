"""What a run compiles, for devices that are here and for others."""

import jax
import pytest

from fps_jax.config import build
from fps_jax.core import devices
from fps_jax.runs import programs
from tests.helpers import small


def _all(simulation):
  return [
    *programs.round_programs(
      simulation, simulation.plan(0), simulation.put_data()
    ),
    *programs.other_programs(simulation),
  ]


@pytest.mark.slow
@pytest.mark.parametrize(
  ('overrides', 'names'),
  [
    (
      {'pruning__regrow_fraction': 0.1, 'model__name': 'mcmahan_cnn'},
      ['collect_updates', 'step', '_init_state', 'evaluate'],
    ),
    (
      {
        'defence__name': 'fltrust',
        'attack__data': 'backdoor',
        'attack__malicious': 0.2,
      },
      [
        'train_clients',
        'examine_clients',
        'audit_sketches',
        'aggregate_clients',
        'step',
        '_init_state',
        'evaluate',
        'evaluate',
      ],
    ),
    (
      {
        'pruning__mask': 'top_k',
        'sharing__scheme': 'none',
        'data__validation_fraction': 0.1,
        'eval__by_client_every_rounds': 1,
        'eval__personal_epochs': 1,
      },
      [
        'collect_updates',
        'step',
        '_init_state',
        'evaluate',
        'evaluate',
        'count_here',
        'count_here',
      ],
    ),
  ],
  ids=['regrowth', 'robust', 'by_client'],
)
def test_run_is_shapes_alone_where_its_devices_are_not_here(
  monkeypatch, overrides, names
):
  config = small.make_config(**overrides)
  here = _all(small.make(config))
  for module in (devices, build):
    monkeypatch.setattr(module, 'are_here', lambda mesh: False)
  simulation = small.make(config)
  arrays = (simulation.key, simulation.put_data(), simulation.plan(0))
  assert not any(isinstance(a, jax.Array) for a in jax.tree.leaves(arrays))
  elsewhere = _all(simulation)
  assert list(map(programs.name_of, elsewhere)) == names
  for call, other in zip(here, elsewhere, strict=True):
    assert programs.lower(call).as_text() == programs.lower(other).as_text()


def test_memory_is_that_of_the_compiler():
  simulation = small.make(small.make_config(perf__num_devices=1))
  *_, step = programs.round_programs(
    simulation, simulation.plan(0), simulation.put_data()
  )
  mesh = simulation.mesh
  memory = programs.Memory.of(
    programs.compile_lowered(programs.lower(step), mesh)
  )
  params_bytes = 4 * simulation.accounts.num_params
  assert memory.argument_bytes > params_bytes
  assert memory.output_bytes > params_bytes
  assert memory.total_bytes == (
    memory.argument_bytes
    + memory.output_bytes
    - memory.alias_bytes
    + memory.temporary_bytes
  )


@pytest.mark.parametrize(
  ('message', 'expected'),
  [
    ('RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9', True),
    ('INTERNAL: RET_CHECK failure', False),
  ],
)
def test_error_of_too_little_memory_is_told_from_others(message, expected):
  error = jax.errors.JaxRuntimeError(message)
  assert programs.is_out_of_memory(error) == expected
