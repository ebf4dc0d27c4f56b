"""What a run promises to clients, and settings that make it worth less."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from fps_jax.config.sections.model import initial_model
from fps_jax.jobs.study_run import StudyRun
from fps_jax.privacy import discrete_gaussian
from fps_jax.privacy.central import CentralPrivacy
from fps_jax.privacy.distributed import DistributedPrivacy
from fps_jax.privacy.mechanism import Mechanism
from fps_jax.runs.simulation import Simulation

# Of the clip, what rounding may add to a contribution's length.
_MUCH_ROUNDED = 0.1


def before_run(config: ConfigDict, run: Simulation) -> Iterator[str]:
  """Yields a line for each setting that undermines what is promised.

  Args:
    config: of one variant, valid.
    run: one of its runs.
  """
  ledger, noise = run.accounts.ledger, run.round.method.terms.privacy
  if ledger is None:
    return
  privacy, num_clients = config.privacy, config.data.num_clients
  if isinstance(noise, DistributedPrivacy):
    yield from _distributed(config, noise.codec.mechanism)
  elif noise is not None:
    yield from _central(config, noise, run)
  if privacy.delta >= 1 / num_clients:
    yield (
      f'privacy.delta={privacy.delta:g} is not below 1 / data.num_clients='
      f'{1 / num_clients:g}: it would allow that one client is told whole; '
      'lower it'
    )
  if initial_model(config, config.seeds[0]) is not None:
    yield (
      'the model of model.init_from is where the run begins, and nothing '
      'counts what it tells: it must not come of the same clients, or its '
      'epsilon has to be added'
    )


def print_promises(runs: Sequence[StudyRun], console: Console) -> None:
  """Prints what the runs spend of clients' privacy, where they promise any."""
  for run in runs:
    if line := promise(run.variant, run.simulation):
      console.print(f'{run.title}: {line}', highlight=False)


def promise(config: ConfigDict, run: Simulation) -> str | None:
  """Returns what a run spends in all, in a line; None without privacy.

  Arguments are as of `before_run`.
  """
  ledger, privacy = run.accounts.ledger, config.privacy
  if ledger is None:
    return None
  noise = run.round.method.terms.privacy
  of_clients = against = ''
  if config.sharing.entropy == 'seed':
    against = (
      '; against those alone who have neither the seed nor a model of another '
      "variant, as sharing.entropy='seed' draws the same noise for all"
    )
  if isinstance(noise, DistributedPrivacy):
    of_clients = f'; {_describe(noise.codec.mechanism)}'
  return (
    f'differential privacy of one client ({privacy.neighbours}), mode '
    f'{privacy.mode}: epsilon {ledger.epsilon(config.num_rounds):.4g} for '
    f'delta {ledger.delta:g} after {config.num_rounds} rounds, with noise '
    f'multiplier {ledger.noise_multiplier:.4g}{of_clients}{against}'
  )


def _describe(noise: Mechanism) -> str:
  deviation = math.sqrt(noise.variance)
  distance = discrete_gaussian.log2_distance(noise.num_draws)
  return (
    f'each client adds noise of deviation {deviation:.4g} to a vector of '
    f'length {noise.words.levels}, and rounding makes it '
    f'{noise.rounding_cost:.4g} times what that needs; the probability that '
    f'any word of the run wraps is below 2**{noise.log2_wrap_probability:.0f}, '
    f'and all draws are within 2**{distance:.0f} of their exact distribution'
  )


def _distributed(config: ConfigDict, noise: Mechanism) -> Iterator[str]:
  dropout, size = config.faults.client_dropout_probability, config.cohort.size
  if noise.min_honest > size * (1 - dropout):
    yield (
      f'faults.client_dropout_probability={dropout} leaves about '
      f'{size * (1 - dropout):.3g} clients of {size}, and a sum of fewer than '
      f'{noise.min_honest} is not opened: lower privacy.min_honest'
    )


def _central(
  config: ConfigDict, central: CentralPrivacy, run: Simulation
) -> Iterator[str]:
  most_kept = max(int(plan.keep_count) for plan in run.pruning_plans)
  if not run.accounts.shares_mask:
    most_kept = run.accounts.num_params
  rounded = float(central.rounding * np.sqrt(most_kept))
  if rounded > _MUCH_ROUNDED * config.privacy.clip:
    yield (
      f'rounding to sharing.value_bits={config.sharing.value_bits} of '
      f'sharing.clip={config.sharing.clip} may make a contribution of '
      f'privacy.clip={config.privacy.clip} longer by {rounded:.3g}, and the '
      'noise is as much larger: raise value_bits or lower sharing.clip'
    )
