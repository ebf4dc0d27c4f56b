"""What a run promises to clients, and what would make it an empty promise."""

from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from fps_jax.config.sections.model import initial_model
from fps_jax.privacy.accounting import Ledger
from fps_jax.privacy.central import CentralPrivacy
from fps_jax.runs.simulation import Simulation

# Of the clip, what rounding may add to a contribution's length.
_MUCH_ROUNDED = 0.1


def before_run(config: ConfigDict, run: Simulation) -> Iterator[str]:
  """Yields what a run spends in all, and settings that undermine it.

  Args:
    config: of one variant, valid.
    run: one of its runs.
  """
  ledger, central = run.accounts.ledger, run.round.method.terms.privacy
  if ledger is None:
    return
  privacy, num_clients = config.privacy, config.data.num_clients
  yield (
    f'{_promise(config, ledger)} is what privacy.mode={privacy.mode!r} '
    f'promises every client (privacy.neighbours={privacy.neighbours!r}); '
    f'noise multiplier {ledger.noise_multiplier:.4g}'
  )
  if central is not None:
    yield from _central(config, central, run)
  if privacy.delta >= 1 / num_clients:
    yield (
      f'privacy.delta={privacy.delta:g} is not below 1 / data.num_clients='
      f'{1 / num_clients:g}: it would allow that one client is told whole; '
      'lower it'
    )
  if config.sharing.entropy == 'seed':
    yield (
      "sharing.entropy='seed' draws noise that who knows the seed can draw "
      "again: a simulation; to publish a model of real clients, use 'os'"
    )
  if initial_model(config, config.seeds[0]) is not None:
    yield (
      'the model of model.init_from is where the run begins, and nothing '
      'counts what it tells: it must not come of the same clients, or its '
      'epsilon has to be added'
    )


def _promise(config: ConfigDict, ledger: Ledger) -> str:
  epsilon = ledger.epsilon(config.num_rounds)
  return (
    f'epsilon={epsilon:.4g} for delta={ledger.delta:g} after '
    f'{config.num_rounds} rounds'
  )


def _central(
  config: ConfigDict, central: CentralPrivacy, run: Simulation
) -> Iterator[str]:
  most_kept = max(int(plan.keep_count) for plan in run.pruning_plans)
  if not run.accounts.prunes_model:
    most_kept = run.accounts.num_params
  rounded = float(central.rounding * np.sqrt(most_kept))
  if rounded > _MUCH_ROUNDED * config.privacy.clip:
    yield (
      f'rounding to sharing.value_bits={config.sharing.value_bits} of '
      f'sharing.clip={config.sharing.clip} may make a contribution of '
      f'privacy.clip={config.privacy.clip} longer by {rounded:.3g}, and the '
      'noise is as much larger: raise value_bits or lower sharing.clip'
    )
