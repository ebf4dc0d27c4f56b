"""The section `server`: what the central server makes of a mean update."""

from collections.abc import Iterator

import optax
from ml_collections import ConfigDict

from fps_jax.config.checks import above_zero, choice, within
from fps_jax.config.section import Field, Section, collect
from fps_jax.config.sections.client import make_factors, schedule_fields
from fps_jax.federated import learning_rates, server
from fps_jax.federated.learning_rates import SCHEDULES
from fps_jax.federated.server import OPTIMIZERS


def _schedule(config: ConfigDict) -> Iterator[str]:
  yield from collect('server', lambda: make_factors(config, 'server'))


SECTION = Section(
  'server',
  {
    'optimizer': Field(
      'sgd',
      choice(OPTIMIZERS),
      'or momentum; fedadagrad, fedadam, fedyogi, as their paper has them; '
      'adam, yogi, as optax has them, with bias correction',
    ),
    'learning_rate': Field(1.0, above_zero, '1 with sgd is FedAvg'),
    'momentum': Field(0.9, within(0, 1, '[)'), 'not used by sgd'),
    **schedule_fields(),
  },
  (_schedule,),
  {'schedule_args': (SCHEDULES,)},
)


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
  """Returns the central server's optimiser."""
  settings = config.server
  optimizer = server.make_optimizer(
    settings.optimizer, settings.learning_rate, settings.momentum
  )
  return learning_rates.scheduled(optimizer, make_factors(config, 'server'))
