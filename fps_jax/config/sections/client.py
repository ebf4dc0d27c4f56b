"""The section `client`: local training."""

from ml_collections import ConfigDict

from fps_jax.attacks.data import DataAttack
from fps_jax.config.checks import above_zero, at_least_zero, whole, within
from fps_jax.config.section import Field, Section
from fps_jax.config.sections.study import MAX_ROUNDS
from fps_jax.federated import client
from fps_jax.federated.client import Apply, LocalUpdate

# Batches are padded to their size, and lie in memory for every client.
MAX_BATCH = 2**20
MAX_PASSES = 10**4

SECTION = Section(
  'client',
  {
    'learning_rate': Field(0.1, above_zero),
    'momentum': Field(0.0, within(0, 1, '[)')),
    'weight_decay': Field(0.0, at_least_zero),
    'proximal': Field(
      0.0, at_least_zero, "FedProx's mu; 0 is FedAvg's local training"
    ),
    'batch_size': Field(10, whole(1, MAX_BATCH)),
    'epochs': Field(1, whole(1, MAX_PASSES)),
    'steps': Field(
      0,
      whole(0, MAX_ROUNDS),
      'above 0: this many steps a round, not epochs',
    ),
  },
)


def make_local_update(
  config: ConfigDict, apply: Apply, attack: DataAttack | None
) -> LocalUpdate:
  """Returns how a client trains; malicious ones, on what an attack makes."""
  settings = config.client
  optimizer = client.make_optimizer(
    settings.learning_rate, settings.momentum, settings.weight_decay
  )
  return client.make_local_update(
    apply,
    optimizer,
    settings.proximal,
    corrupt=attack.corrupt if attack else None,
  )
