"""Tables of the throughput benchmark."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fps_jax.jobs.throughput.phases import PHASES
from fps_jax.results.tables import Table

Row = Mapping[str, Any]


def progress_line(row: Row) -> str:
  """Returns a line that says what was just measured."""
  return (
    f'{row["name"]}: {row["sec_per_round"]:.3g} s a round '
    f'({row["min"]:.3g} to {row["max"]:.3g}), '
    f'{row["clients_per_second"]:,.0f} clients a second'
  )


def tables(results: Mapping[str, Any]) -> Iterator[Table]:
  """Yields the tables of all that was measured."""
  rows, machine = results['rows'], results['machine']
  yield _table(
    'Speed. Time of a round: median of the timed ones, and their range. '
    'Training reaches a part of the peak of matrix products on all devices, '
    f'{machine["matmul_gigaflops"]:.0f} GFLOP/s.',
    rows,
    {
      'Clients/s': '{clients_per_second:,.1f}',
      'Examples/s': '{examples_per_second:,.0f}',
      'Round (s)': '{sec_per_round:.3f}',
      'Range (s)': '{min:.3f}-{max:.3f}',
      'Of peak': '{training_of_matmul_peak:.0%}',
    },
  )
  yield _table(
    'Setting and cost. The first round compiles; memory is the peak of the '
    'process, cases of one group together.',
    rows,
    {
      'Cohort': '{cohort:,}',
      'Batch': '{batch_size}',
      'Execution': '{execution}',
      'First (s)': '{first_round:.2f}',
      'Compiling (s)': '{compile_seconds:.2f}',
      'Memory (MiB)': '{peak_rss_mb:,}',
    },
  )
  if in_groups := [row for row in rows if row['over_first_case'] != 1]:
    yield _table(
      'Time of a round over that of the first case, whose rounds took turns.',
      in_groups,
      {'Over': '{over_first_case:.3f}x'},
    )
  if traced := [row for row in rows if 'phases' in row]:
    yield _phases(traced, machine)


def _table(
  title: str, rows: Sequence[Row], columns: Mapping[str, str]
) -> Table:
  """Returns a line for each case; columns are headings to formats of rows."""
  lines = [
    [row['name'], *(form.format_map(row) for form in columns.values())]
    for row in rows
  ]
  return Table(title, ['Case', *columns], lines)


def _phases(rows: Sequence[Row], machine: Mapping[str, float]) -> Table:
  lines = [
    [
      row['name'],
      *(f'{1e3 * row["phases"][phase]:.1f}' for phase in PHASES),
      _protocol_of_copy(row, machine),
    ]
    for row in rows
  ]
  return Table(
    'Milliseconds of each phase in a traced round, averaged over devices. '
    'Of copy: what encoding to summing must move at least, over what a '
    f'copy on all devices does, {machine["copy_gigabytes"]:.1f} GB/s.',
    ['Case', *PHASES, 'Of copy'],
    lines,
  )


def _protocol_of_copy(row: Row, machine: Mapping[str, float]) -> str:
  """Returns the part of the copy bandwidth that encoding to summing reaches."""
  seconds = sum(row['phases'][phase] for phase in ('encode', 'share', 'sum'))
  if row['sharing'] == 'none':
    return '-'
  gigabytes = row['protocol_bytes'] / 1e9
  return f'{gigabytes / seconds / machine["copy_gigabytes"]:.0%}'
