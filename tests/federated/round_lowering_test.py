"""A round lowers for platforms that this machine lacks."""

import jax
import pytest

from tests.helpers import small


@pytest.mark.slow
@pytest.mark.parametrize('platform', ['cuda', 'tpu'])
@pytest.mark.parametrize(
  ('model', 'scheme'), [('mlp', 'shamir'), ('mcmahan_cnn', 'none')]
)
def test_round_lowers_without_the_hardware(
  platform: str, model: str, scheme: str
):
  config = small.make_config(
    model__name=model, sharing__scheme=scheme, perf__execution='vmap'
  )
  simulation = small.make(config)
  programs = simulation.programs(
    jax.eval_shape(simulation.init_state),
    simulation.plan(0),
    simulation.put_data(),
  )
  assert len(programs) == 2
  # Pallas promises nothing of what is kept for another version of JAX.
  kernel = jax.export.DisabledSafetyCheck.custom_call('__gpu$xla.gpu.triton')
  for program, arguments in programs:
    exported = jax.export.export(
      program, platforms=[platform], disabled_checks=[kernel]
    )(*arguments)
    assert exported.platforms == (platform,)
    # Nothing calls back into Python or a CPU's libraries.
    text = exported.mlir_module()
    assert 'callback' not in text
    assert 'ynn' not in text
