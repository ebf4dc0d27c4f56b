"""What a round reports: every column of the metrics is declared here.

Its type is what `metrics_file` checks, its `Column` what summaries, reports,
their pages and TensorBoard make of it. A number that is to be in `metrics.csv`
and in a study's report is added to one of the groups below, and to the function
of the same group in `fps_jax.runs.round_metrics`.
"""

import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from fps_jax.results.column import Column
from fps_jax.results.formats import (
  format_accuracy,
  format_bytes,
  format_loss,
  format_percent,
)
from fps_jax.results.spread import (
  mean_of_last,
  mean_over_rounds,
  median_without_first,
)


class ModelMetrics(TypedDict):
  """What a round came to; None means not measured in this round.

  Attributes:
    round: rounds completed, from 1.
    diverged: whether the run ends with this round, as its loss, the model or
      the updates of all clients that report are not finite. Never with
      malicious clients: a run under attack goes on, but where it has no
      accuracy to go on for, and its test loss is not finite.
    reached_accuracy: whether the run ends with this round, as it reached
      `eval.stop_at_accuracy`.
    validation_accuracy: of the part of the training set that nobody trains on,
      as of the test set; None, too, without one.
    validation_loss: likewise.
    test_accuracy: fraction of the test set's targets, in [0, 1]; None, too,
      with a loss under which no prediction is right or wrong.
    test_loss: mean over the test set's targets: of the cross-entropy, in nats,
      where they are classes; None if it is not finite, too.
    train_loss: mean over the targets of the clients' local steps of what is
      minimised (`model.loss`); None if no client reported, or if it is not
      finite, and with `privacy.mode`.
    attack_success: fraction of test images with an attacker's trigger, of all
      classes but the target, that are classified as the target; None without a
      backdoor.
    sparsity: fraction of the global model's parameters removed, in [0, 1);
      after regrowth, where there is any.
    kept_parameters: parameters that are trained and sent by the clients that
      train most: not removed, or removed and tried out in this round.
  """

  round: Annotated[int, Column(is_needed=True)]
  diverged: bool
  reached_accuracy: bool
  validation_accuracy: Annotated[
    float | None,
    Column(
      mean_of_last,
      format_accuracy,
      key='final_validation_accuracy_fraction',
      heading='Validation accuracy (%)',
      note='Validation accuracy: on training examples that nobody trains on, '
      'in the last evaluated round.',
      place=1,
      is_optional=True,
      has_range=True,
    ),
  ]
  validation_loss: float | None
  test_accuracy: Annotated[
    float | None,
    Column(
      mean_of_last,
      format_accuracy,
      is_needed=True,
      key='final_test_accuracy_fraction',
      heading='Test accuracy (%)',
      note='Test accuracy: in the last evaluated round; of several seeds, '
      'mean±half of the 95 % confidence interval (Student).',
      place=0,
      has_range=True,
    ),
  ]
  test_loss: Annotated[float | None, Column(mean_of_last, format_loss)]
  train_loss: float | None
  attack_success: Annotated[float | None, Column(mean_of_last, format_percent)]
  sparsity: Annotated[
    float,
    Column(
      mean_of_last,
      format_percent,
      is_needed=True,
      key='final_sparsity_fraction',
      heading='Sparsity (%)',
      note='Sparsity: how many of the parameters are removed after the last '
      'round, mean over seeds.',
      place=6,
    ),
  ]
  kept_parameters: int


class ClientMetrics(TypedDict):
  """What became of the clients that were drawn.

  Attributes:
    clients_reporting: clients whose update arrived, is finite and, if that is
      audited, consistent; a defence may leave some of them out.
    clients_malicious: those of them that an attacker controls.
    clients_not_finite: clients whose update was not finite and left out; with
      `privacy.mode` it counts as an update of nothing, and is not told.
    clients_out_of_range: clients among those that report who shared words which
      no honest client would, by what was opened for a defence, and were left
      out.
    capped_weight: the part of all weight that a defence gave and
      `sharing.min_contributors` took, so that the weighed sum hides each client
      (`fps_jax.federated.robust.hide`), in [0, 1]; None where no weighed sum is
      opened.
    malicious_weight: the part of all weight in the aggregate that a defence
      leaves to malicious clients, in [0, 1]; None without one that weighs
      clients.
    opened_values_per_client: numbers of each single update that the central
      server sees: all that are sent in the clear, those that are opened for a
      defence, or none.
    clients_dropped: clients that were drawn and never reported.
    clients_too_slow: clients that did not take part, as not even the smallest
      tier would have been in time.
    clients_per_tier: clients of each tier among them that report, smallest
      first.
  """

  clients_reporting: int
  clients_malicious: int
  clients_not_finite: int
  clients_out_of_range: int
  capped_weight: float | None
  malicious_weight: Annotated[
    float | None, Column(mean_over_rounds, format_percent)
  ]
  opened_values_per_client: Annotated[
    int, Column(mean_over_rounds, '{:,.0f}'.format)
  ]
  clients_dropped: int
  clients_too_slow: int
  clients_per_tier: Annotated[list[int], Column(plots_items=True)]


class ByClientMetrics(TypedDict):
  """Test accuracy of single clients; None where the round did not ask for it.

  It is over the honest clients that have test examples, each of which counts as
  much as any other, however many those are. Their test examples are like what
  they train on (`eval.by_client_every_rounds`).

  Attributes:
    client_accuracy: of the global model, the mean over clients, in [0, 1].
    client_accuracy_worst_tenth: the mean over the tenth of clients, rounded up,
      for which it is lowest.
    client_accuracy_spread: its standard deviation over clients.
    personal_accuracy: the mean over clients of the accuracy of what each makes
      of the global model by training on its own examples for
      `eval.personal_epochs`.
    personal_accuracy_worst_tenth: as above.
    personal_accuracy_spread: as above.
    clients_untested: honest clients without a test example.
  """

  client_accuracy: Annotated[
    float | None,
    Column(mean_of_last, format_accuracy, heading='Mean over clients (%)'),
  ]
  client_accuracy_worst_tenth: Annotated[
    float | None,
    Column(mean_of_last, format_accuracy, heading='Worst tenth of clients (%)'),
  ]
  client_accuracy_spread: Annotated[
    float | None,
    Column(
      mean_of_last, format_accuracy, heading='Standard deviation (points)'
    ),
  ]
  personal_accuracy: Annotated[
    float | None,
    Column(mean_of_last, format_accuracy),
  ]
  personal_accuracy_worst_tenth: Annotated[
    float | None,
    Column(mean_of_last, format_accuracy),
  ]
  personal_accuracy_spread: Annotated[
    float | None,
    Column(mean_of_last, format_accuracy),
  ]
  clients_untested: Annotated[
    int | None,
    Column(mean_of_last, '{:,.0f}'.format, heading='Clients not tested'),
  ]


class SharingMetrics(TypedDict):
  """What sharing and its audit met with.

  Attributes:
    clipped_fraction: fraction of shared values the codec clipped; None
      without a codec, if no client reported, and with `privacy.mode`.
    failed_attempts: attempts at the round that could not be completed. After
      the last of them it may have been skipped: no client reports, and the
      model is as it was, but for pruning.
    missing_servers: numbers of the servers that did not answer, ascending.
    wrong_servers: numbers of the servers whose sum the audit found wrong and
      left out, ascending; an honest one among them if clients dealt it shares
      that do not fit those of others and, with `sharing.audit='clients'`, are
      more than half of the round's.
    wrong_servers_correctable: wrong sums that the audit could have named and
      left out: half of the answers beyond `sharing.threshold`, 0 without an
      audit; None where servers hold no shares or the round was skipped.
    wrong_servers_detectable: wrong sums of which the audit could not have
      missed all: the answers beyond `sharing.threshold`. The round would have
      failed, or named some server; 0 and None as above.
    inconsistent_clients: numbers of the clients whose shares did not fit
      together and who were left out, ascending; found with
      `sharing.audit='clients'`, as long as they are at most half of the
      round's.
  """

  clipped_fraction: float | None
  failed_attempts: int
  missing_servers: list[int]
  wrong_servers: list[int]
  wrong_servers_correctable: int | None
  wrong_servers_detectable: int | None
  inconsistent_clients: list[int]


class PrivacyMetrics(TypedDict):
  """What a round spent; None without `privacy.mode`.

  Attributes:
    epsilon: of differential privacy for one client and `privacy.delta`, of all
      rounds so far.
    clip_norm: L2 norm that a client's contribution could have at most.
  """

  epsilon: Annotated[
    float | None,
    Column(
      mean_of_last,
      key='final_epsilon',
      heading='Epsilon',
      note='Epsilon: what all rounds spend of the privacy of one client.',
      place=2,
      is_optional=True,
    ),
  ]
  clip_norm: Annotated[float | None, Column(mean_of_last)]


class CostMetrics(TypedDict):
  """What a round took.

  Attributes:
    uplink_bytes_per_client: all messages one client sent in this round, to
      every server; the mean over clients where they differ, the sum over
      attempts.
    downlink_bytes_per_client: all messages one client received in this round;
      the mean, and the sum.
    server_to_central_bytes: all messages from the servers to the centre in
      this round, in all attempts.
    simulated_seconds: what the round would take the clients' devices, in all
      attempts; None where they have no profiles.
    round_seconds: wall time of the round.
  """

  uplink_bytes_per_client: Annotated[
    float,
    Column(
      mean_over_rounds,
      format_bytes,
      is_needed=True,
      key='uplink_bytes_per_client_and_round',
      heading='Uplink per client',
      note='Uplink and downlink: what one client sends and receives in one '
      'round, mean over rounds and seeds. 1 kB = 1000 B.',
      place=2,
    ),
  ]
  downlink_bytes_per_client: Annotated[
    float,
    Column(
      mean_over_rounds,
      format_bytes,
      is_needed=True,
      key='downlink_bytes_per_client_and_round',
      heading='Downlink per client',
      place=3,
    ),
  ]
  server_to_central_bytes: Annotated[
    int,
    Column(
      mean_over_rounds,
      format_bytes,
      is_needed=True,
      key='server_to_central_bytes_per_round',
      heading='Servers to central server',
      note='Servers to central server: what all of them send in one round, '
      'mean over rounds and seeds.',
      place=4,
    ),
  ]
  simulated_seconds: Annotated[float | None, Column(is_needed=True)]
  round_seconds: Annotated[
    float,
    Column(
      median_without_first,
      is_needed=True,
      key='median_round_seconds',
      heading='Time per round (s)',
      note='Time per round: median of the wall time, without round 1, which '
      'compiles.',
      place=7,
    ),
  ]


# By name TypedDict once more: Python 3.11 forgets the groups else, which the
# API reference asks for.
class MetricsRow(
  ModelMetrics,
  ByClientMetrics,
  ClientMetrics,
  SharingMetrics,
  PrivacyMetrics,
  CostMetrics,
  TypedDict,
):
  """All that one round reports, group after group: a line of the metrics."""


def is_evaluated(row: Mapping[str, Any]) -> bool:
  """Returns whether a model was tested after a round.

  Rows of other versions may lack the loss.
  """
  return row['test_accuracy'] is not None or row.get('test_loss') is not None


def _declared() -> dict[str, Column]:
  hints = typing.get_type_hints(MetricsRow, include_extras=True)
  return {
    name: next(iter(getattr(hint, '__metadata__', ())), Column())
    for name, hint in hints.items()
  }


TYPES: Mapping[str, Any] = typing.get_type_hints(MetricsRow)
COLUMNS: Mapping[str, Column] = _declared()
# What reports say of single clients, where that was measured.
BY_CLIENT: Mapping[str, Column] = {
  name: COLUMNS[name] for name in typing.get_type_hints(ByClientMetrics)
}
# Those of rounds that are evaluated alone; there are others by client.
EVALUATED = (
  'validation_accuracy',
  'validation_loss',
  'test_accuracy',
  'test_loss',
  'attack_success',
)
