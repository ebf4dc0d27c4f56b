"""The sections `eval`, `checkpoint`, `perf`: how a run is run, never what."""

from fps_jax.config.checks import choice, whole
from fps_jax.config.section import Field, Section
from fps_jax.config.sections.client import MAX_BATCH
from fps_jax.federated.performance import EXECUTIONS, Performance

SECTIONS = (
  Section(
    'eval',
    {
      'every_rounds': Field(1, whole(1), 'the last round always is'),
      'batch_size': Field(1000, whole(1, MAX_BATCH)),
    },
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
