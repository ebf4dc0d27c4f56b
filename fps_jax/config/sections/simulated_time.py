"""The section `profiles`: what clients' devices can do, and the deadline."""

from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from fps_jax.config.checks import (
  above_zero,
  at_least_zero,
  choice,
  each,
  within,
)
from fps_jax.config.section import Field, Section, collect, takes
from fps_jax.config.sections.model import make_model
from fps_jax.config.sections.pruning import shares_mask
from fps_jax.core.types import PruningPlan
from fps_jax.data.dataset import Dataset
from fps_jax.runs.costs import profiles
from fps_jax.runs.costs.clock import Clock, Work
from fps_jax.runs.costs.flops import training_flops
from fps_jax.runs.costs.message_bytes import ByteCounter
from fps_jax.runs.costs.profiles import DISTRIBUTIONS, Fleet

# exp(sigma z) stays far below infinity.
_MAX_SIGMA = 10
_SPEEDS = {'gflops': 10.0, 'download_mbits': 25.0, 'upload_mbits': 5.0}
_CLASSES = {
  'gflops': (2.0, 10.0, 50.0),
  'download_mbits': (5.0, 25.0, 100.0),
  'upload_mbits': (1.0, 5.0, 25.0),
}


def _arguments(config: ConfigDict) -> Iterator[str]:
  settings = config.profiles
  name = settings.distribution
  if name == 'none':
    return
  args = settings.args
  yield from takes('profiles.distribution', name, DISTRIBUTIONS, args)
  yield from collect(
    'profiles',
    lambda: profiles.check(name, args.get(name, {}), settings.round_sigma),
  )


def _deadline(config: ConfigDict) -> Iterator[str]:
  settings, dropout = config.profiles, config.faults.client_dropout_probability
  has_profiles = settings.distribution != 'none'
  if has_profiles and dropout and not settings.deadline_seconds:
    yield (
      'profiles.deadline_seconds=0 would wait for ever for clients that drop '
      f'out, with faults.client_dropout_probability={dropout}: set a deadline'
    )
  if settings.deadline_seconds and not has_profiles:
    yield (
      f'profiles.deadline_seconds={settings.deadline_seconds} needs profiles '
      'of the clients: set profiles.distribution to one of '
      f'{sorted(DISTRIBUTIONS)}'
    )


SECTION = Section(
  'profiles',
  {
    'distribution': Field('none', choice(('none',), DISTRIBUTIONS)),
    **{
      f'args.{name}.{speed}': Field(value, above_zero, 'per second')
      for name in ('same', 'lognormal')
      for speed, value in _SPEEDS.items()
    },
    **{
      f'args.three_classes.{speed}': Field(values, each(above_zero, length=3))
      for speed, values in _CLASSES.items()
    },
    'args.lognormal.sigma': Field(1.0, within(0, _MAX_SIGMA, '(]')),
    'round_sigma': Field(
      0.2, within(0, _MAX_SIGMA), 'of the log of speeds, round to round'
    ),
    'deadline_seconds': Field(
      0.0, at_least_zero, 'of a round; 0 waits for everyone'
    ),
    'compute_saved': Field(
      0.0,
      within(0, 1),
      "of a pruned parameter's arithmetic, the part that a device saves: 0 "
      'where it multiplies by zeros like by anything else, as most do',
    ),
  },
  (_arguments, _deadline),
  {'args': (DISTRIBUTIONS,)},
)


def make_clock(
  config: ConfigDict,
  seed: int,
  dataset: Dataset,
  plans: Sequence[PruningPlan],
  count_bytes: ByteCounter,
) -> Clock | None:
  """Returns the simulated time of a run, or None without profiles."""
  settings = config.profiles
  if settings.distribution == 'none':
    return None
  flops = training_flops(
    make_model(config, dataset.num_classes), dataset, config.client.batch_size
  )

  def work_of(plan: PruningPlan, tier: int) -> Work:
    sent = count_bytes(plan, [tier], [tier])
    sparsity = 1 - int(plan.received_counts[tier]) / count_bytes.num_params
    if not shares_mask(config):
      sparsity = 0.0  # Clients train everything.
    return Work(
      download_bytes=sent.downlink_per_client,
      upload_bytes=sent.uplink_per_client,
      flops_per_example=flops * (1 - settings.compute_saved * sparsity),
    )

  work = [
    [work_of(plan, tier) for tier in range(len(plan.keep_counts_T))]
    for plan in plans
  ]
  fleet = Fleet.draw(
    settings.distribution,
    settings.args.get(settings.distribution, {}),
    config.data.num_clients,
    seed,
    settings.round_sigma,
  )
  return Clock(fleet, work.__getitem__, settings.deadline_seconds)
