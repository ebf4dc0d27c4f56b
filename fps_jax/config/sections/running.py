"""The sections `eval`, `checkpoint`, `perf`: how a run is run, never what."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from fps_jax.config.checks import boolean, choice, each, whole, within
from fps_jax.config.section import Field, Section
from fps_jax.config.sections.client import MAX_BATCH, MAX_PASSES
from fps_jax.config.sections.model import make_loss
from fps_jax.federated.performance import EXECUTIONS, Performance
from fps_jax.runs.hooks import ON_ROUND


def _stop(config: ConfigDict) -> Iterator[str]:
  target, every = config.eval.stop_at_accuracy, config.eval.every_rounds
  if target and every >= config.num_rounds:
    yield (
      f'eval.stop_at_accuracy={target} with eval.every_rounds={every} of '
      f'num_rounds={config.num_rounds}: only the last round is evaluated, '
      'lower eval.every_rounds'
    )


def _accuracy(config: ConfigDict) -> Iterator[str]:
  has_none = make_loss(config).is_right is None
  for name, value in (
    ('eval.stop_at_accuracy', config.eval.stop_at_accuracy),
    ('checkpoint.keep_best', config.checkpoint.keep_best),
  ):
    if has_none and value:
      yield (
        f'{name}={value} with model.loss={config.model.loss!r}, under which no '
        'prediction is right or wrong: leave it out'
      )


def _best(config: ConfigDict) -> Iterator[str]:
  if not config.checkpoint.keep_best:
    return
  if not config.data.validation_fraction:
    yield (
      'checkpoint.keep_best=True with data.validation_fraction=0.0: the best '
      'model is chosen by validation, never on test data; set a fraction'
    )
  if not config.checkpoint.every_rounds:
    yield (
      'checkpoint.keep_best=True with checkpoint.every_rounds=0: the best '
      'model is kept in checkpoints'
    )


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
        'the last round always has it, but for one in which a run diverged; '
        '0: never',
      ),
      'personal_epochs': Field(
        0,
        whole(0, MAX_PASSES),
        'above 0: also of what each client makes of the model by so many '
        'passes over its own examples',
      ),
      'stop_at_accuracy': Field(
        0.0,
        within(0, 1),
        'a run ends once it has it: in validation, or on the test set without '
        'data.validation_fraction; 0: never',
      ),
      'on_round': Field(
        (),
        each(choice(ON_ROUND)),
        'keys of fps_jax.runs.hooks.ON_ROUND: numbers of your own about every '
        'round',
      ),
    },
    (_personal, _stop, _accuracy),
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
      'keep_best': Field(
        False,
        boolean,
        'each has the model of the best round in validation, too',
      ),
    },
    (_best,),
  ),
  # Of float rounding, fps_jax.federated.sums has what these change.
  Section(
    'perf',
    {
      'chunk_size': Field(
        Performance.chunk_size,
        whole(0),
        '0: chosen, by memory on an accelerator',
      ),
      'execution': Field(
        Performance.execution, choice(EXECUTIONS), 'auto, vmap or sequential'
      ),
      'num_devices': Field(
        Performance.num_devices, whole(0), '0: all there are'
      ),
    },
  ),
)
