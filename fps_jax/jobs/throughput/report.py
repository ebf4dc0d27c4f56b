"""Tables of the throughput benchmark."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from fps_jax.jobs.throughput.phases import PHASES
from fps_jax.results.tables import markdown_table, terminal_table

Row = Mapping[str, Any]


def progress_line(row: Row) -> str:
  """Returns a line that says what was just measured."""
  return (
    f'{row["name"]}: {row["sec_per_round"]:.3g} s a round '
    f'({row["min"]:.3g} to {row["max"]:.3g}), '
    f'{row["clients_per_second"]:,.0f} clients a second'
  )


def tables(results: Mapping[str, Any]) -> list[Table]:
  """Returns the tables for a terminal."""
  return [terminal_table(*table) for table in _contents(results)]


def markdown(results: Mapping[str, Any]) -> str:
  """Returns the tables in Markdown."""
  return '\n'.join(markdown_table(*table) for table in _contents(results))


def _contents(
  results: Mapping[str, Any],
) -> list[tuple[str, list[str], list[list[str]]]]:
  """Returns title, header and cells of each table."""
  rows, machine = results['rows'], results['machine']
  contents = [
    (
      'Speed. Time of a round: median of the timed ones, and their range. '
      'Training reaches a part of the peak of matrix products on all devices, '
      f'{machine["matmul_gigaflops"]:.0f} GFLOP/s.',
      ['Case', 'Clients/s', 'Examples/s', 'Round (s)', 'Range (s)', 'Of peak'],
      [
        [
          row['name'],
          f'{row["clients_per_second"]:,.1f}',
          f'{row["examples_per_second"]:,.0f}',
          f'{row["sec_per_round"]:.3f}',
          f'{row["min"]:.3f}-{row["max"]:.3f}',
          f'{row["training_of_matmul_peak"]:.0%}',
        ]
        for row in rows
      ],
    ),
    (
      'Setting and cost. The first round compiles; memory is the peak of the '
      'process, cases of one group together.',
      [
        'Case',
        'Cohort',
        'Batch',
        'Execution',
        'First (s)',
        'Compiling (s)',
        'Memory (MiB)',
      ],
      [
        [
          row['name'],
          f'{row["cohort"]:,}',
          f'{row["batch_size"]}',
          row['execution'],
          f'{row["first_round"]:.2f}',
          f'{row["compile_seconds"]:.2f}',
          f'{row["peak_rss_mb"]:,}',
        ]
        for row in rows
      ],
    ),
  ]
  in_groups = [row for row in rows if row['over_first_case'] != 1]
  if in_groups:
    contents.append(
      (
        'Time of a round over that of the first case, whose rounds took turns.',
        ['Case', 'Over'],
        [[row['name'], f'{row["over_first_case"]:.3f}x'] for row in in_groups],
      )
    )
  traced = [row for row in rows if 'phases' in row]
  if traced:
    contents.append(
      (
        'Milliseconds of each phase in a traced round, averaged over devices. '
        'Of copy: what encoding to summing must move at least, over what a '
        f'copy on all devices does, {machine["copy_gigabytes"]:.1f} GB/s.',
        ['Case', *PHASES, 'Of copy'],
        [
          [
            row['name'],
            *(f'{1e3 * row["phases"][phase]:.1f}' for phase in PHASES),
            _protocol_of_copy(row, machine),
          ]
          for row in traced
        ],
      )
    )
  return contents


def _protocol_of_copy(row: Row, machine: Mapping[str, float]) -> str:
  """Returns the part of the copy bandwidth that encoding to summing reaches."""
  seconds = sum(row['phases'][phase] for phase in ('encode', 'share', 'sum'))
  if row['sharing'] == 'none':
    return '-'
  gigabytes = row['protocol_bytes'] / 1e9
  return f'{gigabytes / seconds / machine["copy_gigabytes"]:.0%}'
