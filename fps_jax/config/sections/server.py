"""The section `server`: what the central server makes of a mean update."""

import optax
from ml_collections import ConfigDict

from fps_jax.config.checks import above_zero, choice, within
from fps_jax.config.section import Field, Section
from fps_jax.federated import server
from fps_jax.federated.server import OPTIMIZERS

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
  },
)


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
  """Returns the central server's optimiser."""
  settings = config.server
  return server.make_optimizer(
    settings.optimizer, settings.learning_rate, settings.momentum
  )
