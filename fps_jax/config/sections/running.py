"""The sections `eval`, `checkpoint`, `perf`: how a run is run, never what."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from fps_jax.config.checks import choice, whole
from fps_jax.config.section import Field, Section
from fps_jax.config.sections.client import MAX_BATCH, MAX_PASSES
from fps_jax.federated.performance import EXECUTIONS, Performance


def _personal(config: ConfigDict) -> Iterator[str]:
  settings = config.eval
  if settings.personal_epochs and not settings.by_client_every_rounds:
    yield (
      f'eval.personal_epochs={settings.personal_epochs} does nothing with '
      'eval.by_client_every_rounds=0: set it to the rounds between tests of '
      'every client'
    )


SECTIONS = (
  Section(
    'eval',
    {
      'every_rounds': Field(1, whole(1), 'the last round always is'),
      'batch_size': Field(1000, whole(1, MAX_BATCH)),
      'by_client_every_rounds': Field(
        0,
        whole(0),
        'test accuracy of every client: mean, worst tenth and spread; above 0, '
        'the last round always has it; 0: never',
      ),
      'personal_epochs': Field(
        0,
        whole(0, MAX_PASSES),
        'above 0: also of what each client makes of the model by so many '
        'passes over its own examples',
      ),
    },
    (_personal,),
  ),
  Section(
    'checkpoint',
    {
      'every_rounds': Field(
        10,
        whole(0),
        'a killed run goes on from the last one; the last round always has '
        'one; 0: none, it begins anew',
      ),
      'keep': Field(2, whole(1), 'the last ones of each run'),
    },
  ),
  # Of float rounding, fps_jax.federated.sums has what these change.
  Section(
    'perf',
    {
      'chunk_size': Field(Performance.chunk_size, whole(0), '0: chosen'),
      'execution': Field(
        Performance.execution, choice(EXECUTIONS), 'auto, vmap or sequential'
      ),
      'num_devices': Field(
        Performance.num_devices, whole(0), '0: all there are'
      ),
    },
  ),
)
