"""What a config's messages weigh, without data and without a run.

Example:
  >>> from fps_jax.config import defaults
  >>> config = defaults.default('fedavg')
  >>> count_bytes(config, num_params=1_000_000).uplink_per_client
  4000036.0
"""

from ml_collections import ConfigDict

from fps_jax.config.sections import defence, pruning, sharing
from fps_jax.config.validate import validate
from fps_jax.core import arrays
from fps_jax.core.types import PruningPlan
from fps_jax.pruning import masks
from fps_jax.runs.costs.message_bytes import RoundBytes


def count_bytes(
  config: ConfigDict, num_params: int, sparsity: float = 0.0
) -> RoundBytes:
  """Returns the bytes of one round in which all clients of a cohort report.

  They are those of the messages as they are encoded, headers and an audit's or
  a defence's included.

  Args:
    config: of one method, as `fps_jax.default_config` returns it.
    num_params: D, parameters of the model.
    sparsity: fraction of them that is pruned, in [0, 1).

  Raises:
    ValueError: if the config is not valid, or a number out of range.
  """
  validate(config)
  arrays.check_integer('num_params', num_params, 1)
  num_params, sparsity = arrays.plain(num_params), arrays.plain(sparsity)
  if sparsity and config.pruning.schedule == 'none':
    raise ValueError(
      f'sparsity={sparsity} of a config that prunes nothing '
      f'(pruning.schedule={config.pruning.schedule!r}): give 0'
    )
  if len(config.pruning.tiers) > 1:
    raise ValueError(
      f'pruning.tiers={tuple(config.pruning.tiers)} makes messages of several '
      'lengths, by who is how fast: set (1.0,), or run it'
    )
  count = masks.keep_count(num_params, sparsity)
  setup = sharing.make_setup(
    config, 0, defence.num_opened_columns(config, num_params)
  )
  counter = sharing.make_byte_counter(
    config, setup, num_params, pruning.has_own_masks(config)
  )
  plan = PruningPlan.keeping(
    pruning.count_trained(config, num_params, count),
    model=PruningPlan.keeping(count),
  )
  tiers = [0] * config.cohort.size
  return counter(plan, tiers, tiers)
