"""Tables and figures of the throughput benchmark."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import figure as mpl_figure
from rich.table import Table

from fps_jax.benchmark.phases import PHASES
from fps_jax.benchmark.table import markdown_table, terminal_table

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


def write_figures(rows: Sequence[Row], folder: pathlib.Path) -> None:
  """Draws where the time of each case goes, and how cohorts scale.

  Args:
    rows: of the results.
    folder: gets `phases.png`, if any case was traced, and `scaling.png`, if
      several cases differ by their cohort alone.
  """
  traced = [row for row in rows if 'phases' in row]
  if traced:
    _draw_phases(traced, folder / 'phases.png')
  scaling = [row for row in rows if row['name'].startswith('scaling_')]
  if len(scaling) > 1:
    _draw_scaling(scaling, folder / 'scaling.png')


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
        f'Protocol: its traffic, of a copy at {machine["copy_gigabytes"]:.1f} '
        'GB/s on all devices.',
        ['Case', *PHASES, 'Protocol'],
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


def _draw_phases(rows: Sequence[Row], path: pathlib.Path) -> None:
  height = 1.2 + 0.28 * len(rows)
  figure = mpl_figure.Figure(figsize=(6.5, height), layout='constrained')
  axes = figure.add_subplot()
  names = [row['name'] for row in rows]
  left = [0.0] * len(rows)
  for phase in PHASES:
    totals = [sum(row['phases'].values()) for row in rows]
    shares = [
      100 * row['phases'][phase] / total
      for row, total in zip(rows, totals, strict=True)
    ]
    axes.barh(names, shares, left=left, label=phase)
    left = [a + b for a, b in zip(left, shares, strict=True)]
  axes.invert_yaxis()
  axes.set_xlabel('Share of the time that devices are busy (%)')
  figure.legend(loc='outside right center', fontsize=8)
  figure.savefig(path, dpi=200)


def _draw_scaling(rows: Sequence[Row], path: pathlib.Path) -> None:
  figure = mpl_figure.Figure(figsize=(6.5, 2.8), layout='constrained')
  time, memory = figure.subplots(1, 2)
  cohorts = [row['cohort'] for row in rows]
  seconds = [row['sec_per_round'] for row in rows]
  time.plot(cohorts, seconds, 'o-')
  # Proportional to the largest cohort.
  time.plot(
    cohorts, [seconds[-1] * c / cohorts[-1] for c in cohorts], 'k--', lw=1
  )
  time.set_yscale('log')
  time.set_ylabel('Round (s); dashed: linear')
  memory.plot(cohorts, [row['peak_rss_mb'] for row in rows], 'o-')
  memory.set_ylim(bottom=0)
  memory.set_ylabel('Peak memory (MiB)')
  for axes in (time, memory):
    axes.set_xscale('log')
    axes.set_xlabel('Clients in a round')
    axes.grid(alpha=0.3)
  figure.savefig(path, dpi=200)
