"""What tables say of the variants of a study, for any kind of report."""

from collections.abc import Iterable, Mapping, Sequence

from fps_jax.results.column import Column
from fps_jax.results.formats import (
  format_accuracy,
  format_bytes,
  format_loss,
  show,
  show_range,
)
from fps_jax.results.metrics import COLUMNS as METRICS
from fps_jax.results.reported import REPORTED
from fps_jax.results.summary import Summary
from fps_jax.results.tables import Table

_METHOD = 'Method'
# Above what reports say of single clients.
CLIENTS_TITLE = (
  'Test accuracy by client, after the last round; means over seeds'
)
_OF_CLIENTS = {
  name: METRICS[name]
  for name in (
    'client_accuracy',
    'client_accuracy_worst_tenth',
    'client_accuracy_spread',
  )
}
_UNTESTED = METRICS['clients_untested']
CLIENT_NOTES = (
  'Clients count alike, however many test examples they have. Those that are '
  'malicious, or have none, are left out.',
  'Worst tenth of clients: the mean over the tenth for which accuracy is '
  'lowest.',
)
PERSONAL_NOTE = (
  'Personal models: each client trains the global model on its own examples '
  'before it is tested.'
)
_BEST_COLUMNS = (
  _METHOD,
  'Best round',
  'Validation accuracy (%)',
  'Test accuracy (%)',
)
BEST_TITLE = 'The round with the best validation accuracy; means over seeds'
_TARGET_COLUMNS = (
  _METHOD,
  'Rounds',
  'Total uplink per client',
  'Simulated time (minutes)',
)


def shown_of(summaries: Iterable[Summary]) -> dict[str, Column]:
  """Returns what a report on some variants says: what any of them has."""
  summaries = list(summaries)
  return {
    name: column
    for name, column in REPORTED.items()
    if not column.is_optional or any(each.numbers[name] for each in summaries)
  }


def header(shown: Mapping[str, Column]) -> tuple[str, ...]:
  """Returns the headings over `cells`."""
  return (_METHOD, *(column.heading for column in shown.values()))


# Those that every report has.
COLUMNS = header(shown_of(()))


def _or_always(shown: Mapping[str, Column] | None) -> Mapping[str, Column]:
  return shown_of(()) if shown is None else shown


def notes(
  baseline_title: str, shown: Mapping[str, Column] | None = None
) -> list[str]:
  """Returns what a reader must know of the numbers."""
  return [
    column.note.format(baseline=baseline_title)
    for column in _or_always(shown).values()
    if column.note
  ]


def title_with_seeds(summary: Summary) -> str:
  """Returns the name of a variant, and how many of its runs do not count."""
  num_diverged = len(summary.diverged)
  if not num_diverged:
    return summary.title
  num_runs = num_diverged + len(summary.seeds)
  return f'{summary.title} ({num_diverged} of {num_runs} diverged)'


def cells(
  summary: Summary, shown: Mapping[str, Column] | None = None
) -> list[str]:
  """Returns what a summary says under the `header`.

  Where there is no accuracy, its place has the test loss, and says so.
  """
  numbers = summary.numbers
  found = {
    name: column.show(numbers[name])
    for name, column in _or_always(shown).items()
  }
  loss = numbers['test_loss']
  if numbers['test_accuracy'] is None and loss is not None:
    found['test_accuracy'] = f'loss {show_range(format_loss, loss)}'
  return [title_with_seeds(summary), *found.values()]


def target_title(target_accuracy: float) -> str:
  """Returns what stands above `target_table`."""
  return (
    f'What {100 * target_accuracy:g} % test accuracy took; means over seeds'
  )


def target_table(summaries: Sequence[Summary], title: str) -> Table:
  """Returns what the target accuracy cost; '-' where it was not reached."""
  lines = []
  for summary in summaries:
    cost = summary.to_target
    shown = ['-', '-', '-']
    if cost is not None:
      shown = [
        f'{cost.rounds:,.4g}',
        format_bytes(cost.uplink_bytes_per_client),
        show(lambda s: f'{s / 60:.3g}', cost.simulated_seconds),
      ]
    lines.append([title_with_seeds(summary), *shown])
  has_missed = any(summary.to_target is None for summary in summaries)
  note = 'A dash: under at least one seed it was never reached.' * has_missed
  return Table(title, _TARGET_COLUMNS, lines, note)


def client_table(summaries: Sequence[Summary], title: str) -> Table | None:
  """Returns what was measured of single clients; None where nothing was.

  Personal models, where there are any, have lines of their own.
  """
  lines, notes = [], list(CLIENT_NOTES)
  for kind, added in (('client', ''), ('personal', ', personal models')):
    tested = [each for each in summaries if each.numbers[f'{kind}_accuracy']]
    if tested and added:
      notes.append(PERSONAL_NOTE)
    for summary in tested:
      lines.append(
        [
          title_with_seeds(summary) + added,
          *(
            column.show(summary.numbers[name.replace('client', kind, 1)])
            for name, column in _OF_CLIENTS.items()
          ),
          _UNTESTED.show(summary.numbers['clients_untested']),
        ]
      )
  headings = [column.heading for column in (*_OF_CLIENTS.values(), _UNTESTED)]
  if not lines:
    return None
  return Table(title, (_METHOD, *headings), lines, '\n'.join(notes))


def best_table(summaries: Sequence[Summary], title: str) -> Table | None:
  """Returns what models were worth where they were best in validation.

  None without a validation part.
  """
  lines = [
    [
      title_with_seeds(summary),
      f'{best.round:,.4g}',
      format_accuracy(best.validation_accuracy),
      format_accuracy(best.test_accuracy),
    ]
    for summary in summaries
    if (best := summary.at_best)
  ]
  return Table(title, _BEST_COLUMNS, lines) if lines else None


def endings(summaries: Iterable[Summary]) -> list[str]:
  """Returns a line for each run that ended as it was accurate enough."""
  return [
    f'{summary.title}, seed {run.seed}: reached eval.stop_at_accuracy in round '
    f'{run.round}, and ended there.'
    for summary in summaries
    for run in summary.reached
  ]


def divergences(summaries: Sequence[Summary]) -> list[str]:
  """Returns a line for each run that diverged."""
  return [
    f'{summary.title}, seed {run.seed}: training diverged in round '
    f'{run.round}. The run is left out of all numbers.'
    for summary in summaries
    for run in summary.diverged
  ]
