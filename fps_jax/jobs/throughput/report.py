"""Tables of the throughput benchmark."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fps_jax.jobs.throughput.phases import PHASES
from fps_jax.results.tables import Table
from fps_jax.results.titles import title_of

Row = Mapping[str, Any]
# What readers are shown of each phase.
PHASE_TITLES = {
  'train': 'Train',
  'prune': 'Prune',
  'encode': 'Encode',
  'share': 'Share',
  'sum': 'Sum',
  'audit': 'Audit',
  'reconstruct': 'Open',
  'server': 'Server step',
  'other': 'Other',
}


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
    'Speed',
    rows,
    {
      'Clients per second': '{clients_per_second:,.1f}',
      'Examples per second': '{examples_per_second:,.0f}',
      'Time per round (s)': '{sec_per_round:.3f}',
      'Fastest to slowest (s)': '{min:.3f}-{max:.3f}',
      'Part of peak speed': '{training_of_matmul_peak:.0%}',
    },
    'Time per round: the median of the timed rounds.\n'
    'Part of peak speed: what training reaches of the speed of matrix products '
    f'on all devices, {machine["matmul_gigaflops"]:.0f} GFLOP/s.',
  )
  memory = {'Peak memory (MiB)': '{peak_rss_mb:,}'}
  if all(row['peak_device_mb'] for row in rows):
    memory['Peak memory of a device (MiB)'] = '{peak_device_mb:,}'
  yield _table(
    'Settings, compiling and memory',
    rows,
    {
      'Clients per round': '{cohort:,}',
      'Batch size': '{batch_size}',
      'Execution': '{execution}',
      'Clients per chunk': '{chunk_size:,}',
      'First round (s)': '{first_round:.2f}',
      'Compiling (s)': '{compile_seconds:.2f}',
      **memory,
    },
    'First round: with the compiling of its programs.\n'
    'Peak memory: of the process. Cases of one group share a process, and the '
    'number.',
  )
  if in_groups := [row for row in rows if row['over_first_case'] != 1]:
    yield _table(
      'Time of a round over that of the first case of its group',
      in_groups,
      {'Time over first case': '{over_first_case:.3f}x'},
      'Rounds of the cases of a group take turns.',
    )
  if traced := [row for row in rows if 'phases' in row]:
    yield _phases(traced, machine)


def _table(
  title: str, rows: Sequence[Row], columns: Mapping[str, str], note: str
) -> Table:
  """Returns a line for each case; columns are headings to formats of rows."""
  lines = [
    [
      title_of(row['name']),
      *(form.format_map(row) for form in columns.values()),
    ]
    for row in rows
  ]
  return Table(title, ['Case', *columns], lines, note)


def _phases(rows: Sequence[Row], machine: Mapping[str, float]) -> Table:
  lines = [
    [
      title_of(row['name']),
      *(f'{1e3 * row["phases"][phase]:.1f}' for phase in PHASES),
      *_protocol(row, machine),
    ]
    for row in rows
  ]
  return Table(
    'Milliseconds of each phase of a round',
    [
      'Case',
      *(PHASE_TITLES[phase] for phase in PHASES),
      'Part of time for sharing',
      'Part of copy speed',
    ],
    lines,
    'Of one traced round, averaged over devices.\n'
    'Part of time for sharing: of encoding, sharing, summing, the audit and '
    'opening.\n'
    'Part of copy speed: how fast encoding, sharing and summing move the bytes '
    'that they must, over how fast all devices copy memory, '
    f'{machine["copy_gigabytes"]:.1f} GB/s.',
  )


def _protocol(row: Row, machine: Mapping[str, float]) -> tuple[str, str]:
  """Returns what part of the time sharing takes, and of the copy's speed."""
  if row['sharing'] == 'none':
    return '-', '-'
  phases = row['phases']
  seconds = sum(phases[phase] for phase in ('encode', 'share', 'sum'))
  at_servers = phases['audit'] + phases['reconstruct']
  part = (seconds + at_servers) / sum(phases.values())
  gigabytes = row['protocol_bytes'] / 1e9
  return (
    f'{part:.0%}',
    f'{gigabytes / seconds / machine["copy_gigabytes"]:.0%}',
  )
