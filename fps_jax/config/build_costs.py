"""What a round of a config costs: bytes, and simulated time."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from fps_jax.config.build_sharing import min_contributors, scheme_of
from fps_jax.core.types import PruningPlan
from fps_jax.data.dataset import Dataset
from fps_jax.runs.costs.clock import Clock, Work
from fps_jax.runs.costs.flops import training_flops
from fps_jax.runs.costs.message_bytes import ByteCounter
from fps_jax.runs.costs.profiles import Fleet
from fps_jax.sharing.schemes.scheme import Setup


def mask_of(config: ConfigDict) -> str | None:
  """Returns a member of `selection.MASKS`, or None without pruning."""
  pruning = config.pruning
  return None if pruning.schedule == 'none' else pruning.mask


def make_byte_counter(
  config: ConfigDict, setup: Setup, num_params: int
) -> ByteCounter:
  """Returns what counts the bytes of a round, the audit's included.

  Args:
    config: the config of one variant.
    setup: of `build_sharing.make_setup`.
    num_params: D.
  """
  channel = scheme_of(config).make_channel(setup)
  has_own_mask = mask_of(config) in ('local', 'top_k')
  return ByteCounter(
    num_params, channel, has_own_mask, min_contributors(config)
  )


def make_clock(
  config: ConfigDict,
  seed: int,
  dataset: Dataset,
  plans: Sequence[PruningPlan],
  num_params: int,
  count_bytes: ByteCounter,
) -> Clock | None:
  """Returns the simulated time of a run, or None without profiles."""
  profiles = config.profiles
  if profiles.distribution == 'none':
    return None
  flops = training_flops(config, dataset)

  def work_of(plan: PruningPlan, tier: int) -> Work:
    sent = count_bytes(plan, [tier], [tier])
    sparsity = 1 - int(plan.keep_counts_T[tier]) / num_params
    if mask_of(config) != 'shared':
      sparsity = 0.0  # Clients train everything.
    return Work(
      download_bytes=sent.downlink_per_client,
      upload_bytes=sent.uplink_per_client,
      flops_per_example=flops * (1 - profiles.compute_saved * sparsity),
    )

  work = [
    [work_of(plan, tier) for tier in range(len(plan.keep_counts_T))]
    for plan in plans
  ]
  fleet = Fleet.draw(
    profiles.distribution,
    profiles.args.get(profiles.distribution, {}),
    config.data.num_clients,
    seed,
    profiles.round_sigma,
  )
  return Clock(fleet, work.__getitem__, profiles.deadline_seconds)
