"""What a round of a config costs: bytes, and simulated time."""

from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import build_guard
from fps_jax.config.build_sharing import make_auditor, min_contributors
from fps_jax.core.types import PruningPlan
from fps_jax.data.dataset import Dataset
from fps_jax.federated import layout
from fps_jax.runs.costs import message_bytes
from fps_jax.runs.costs.clock import Clock, Work
from fps_jax.runs.costs.flops import training_flops
from fps_jax.runs.costs.message_bytes import RoundBytes
from fps_jax.runs.costs.profiles import Fleet
from fps_jax.sharing.shamir import Shamir


def mask_of(config: ConfigDict) -> str | None:
  """Returns a member of `selection.MASKS`, or None without pruning."""
  pruning = config.pruning
  return None if pruning.schedule == 'none' else pruning.mask


def count_bytes(
  config: ConfigDict,
  scheme: Shamir | None,
  num_params: int,
  pruning: PruningPlan,
  tiers: Sequence[int],
  summed_tiers: Sequence[int],
  num_answering: int | None = None,
) -> RoundBytes:
  """Returns the bytes of a round, the audit's included.

  Args:
    config: the config of one variant.
    scheme: the sharing scheme; None in the clear.
    num_params: D.
    pruning: the plan of the round.
    tiers: of the clients that send.
    summed_tiers: of those of them that are summed.
    num_answering: servers that answer; None for all that ever do.
  """
  kept = [int(count) for count in pruning.keep_counts_T]
  values: Sequence[int] = kept
  arguments: dict[str, Any] = {}
  if scheme is not None:
    auditor = make_auditor(config, scheme)
    # Without an audit the central server asks no more than it needs.
    num_sending = len(auditor.present) if auditor else scheme.threshold
    if num_answering is not None:
      num_sending = min(num_sending, num_answering)
    values = layout.counts_at(kept, scheme.secrets_per_polynomial)
    arguments = {
      'reveal': config.sharing.reveal,
      'num_sending': num_sending,
      'num_client_checks': (
        auditor.num_checks if auditor and auditor.checks_clients else 0
      ),
      'num_opened_columns': build_guard.num_opened_columns(config, num_params),
    }
  elif config.sharing.scheme != 'none':
    arguments = {'value_bits': config.sharing.value_bits}
  return message_bytes.average_tiers(
    [
      message_bytes.count_bytes(
        num_params,
        num_kept,
        len(tiers),
        scheme,
        num_values=num_values,
        has_own_mask=mask_of(config) in ('local', 'top_k'),
        **arguments,
      )
      for num_kept, num_values in zip(kept, values, strict=True)
    ],
    tiers,
    summed_tiers,
    min_contributors(config),
  )


def make_clock(
  config: ConfigDict,
  seed: int,
  dataset: Dataset,
  plans: Sequence[PruningPlan],
  num_params: int,
  bytes_of: Callable[[PruningPlan, Sequence[int], Sequence[int]], RoundBytes],
) -> Clock | None:
  """Returns the simulated time of a run, or None without profiles."""
  profiles = config.profiles
  if profiles.distribution == 'none':
    return None
  flops = training_flops(config, dataset)

  def work_of(plan: PruningPlan, tier: int) -> Work:
    sent = bytes_of(plan, [tier], [tier])
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
