"""Tables of what runs take of devices that they are compiled for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fps_jax.jobs.compile_for.estimate import Assumptions
from fps_jax.results.tables import Table
from fps_jax.results.titles import title_of

_MIB = 2**20
_COUNTED = {
  'cuda': 'Kernels: that the host launches in a round, on each device; of a '
  'branch those of the longest.',
  'tpu': 'Kernels: operations of a round that take turns on each chip, which '
  'runs a whole program without its host.',
}
# What several variants come to is the most of any, or of all together.
_JOINED = {'fits': all, 'name': ', '.join}


def tables(rows: Sequence[Mapping[str, Any]], platform: str) -> Iterator[Table]:
  """Yields the tables of all variants, a line each."""
  first = rows[0]
  where = f'{first["num_devices"]} x {first["device"]}'
  yield _table(
    f'Memory of each device (MiB), {where}',
    rows,
    {
      'Arguments': lambda row: _mib(row['argument_bytes']),
      'Temporary': lambda row: _mib(row['temporary_bytes']),
      'Output': lambda row: _mib(row['output_bytes']),
      'Peak': lambda row: _mib(row['peak_bytes']),
      'Of': lambda row: _mib(row['usable_memory_bytes']),
      'Fits': lambda row: 'yes' if row['fits'] else 'no',
      'Chunk size': lambda row: f'{row["chunk_size"]:,}',
    },
    'Of the program of a round that takes the most. Peak: with the test sets, '
    'which stay there.\n'
    'Of: what JAX takes of a device of '
    f'{_mib(first["device_memory_bytes"])} MiB.' + ''.join(_problems(rows)),
  )
  yield _table(
    'Work of a round on each device',
    rows,
    {
      'Kernels': lambda row: f'{row["kernels_per_round"]:,}',
      'Loops of unknown length': lambda row: str(row['unknown_trip_counts']),
      'Calls of the host': lambda row: str(row['host_callbacks']),
      'TFLOP': lambda row: f'{row["flops_per_round"] / 1e12:.3g}',
      'Moved (GB)': lambda row: f'{row["bytes_per_round"] / 1e9:.3g}',
      'In collectives (MB)': lambda row: f'{row["collective_bytes"] / 1e6:.3g}',
      'Estimate (s)': lambda row: f'{row["estimated_round_seconds"]:.3g}',
    },
    _notes(rows, platform),
  )


def _problems(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
  for row in rows:
    for program in row['programs']:
      if program['problem']:
        yield (
          f'\n{title_of(row["name"])} cannot be compiled, and nothing else is '
          f'known of {program["name"]}: {program["problem"]}'
        )


def _notes(rows: Sequence[Mapping[str, Any]], platform: str) -> str:
  assumed = Assumptions(**rows[0]['assumptions'])
  notes = [
    _COUNTED[platform],
    'TFLOP: of training, for clients that fill a chunk, too.',
    'Moved: each array once for each kernel that reads or writes it.',
    assumed.text(platform),
  ]
  once = {
    loop['scope']
    for row in rows
    for loop in row['unknown_loops']
    if loop['source'] == 'assumed'
  }
  if once:
    notes.append(
      f'Counted once, as nothing tells how often: {", ".join(sorted(once))}.'
    )
  return '\n'.join(notes)


def _table(
  title: str, rows: Sequence[Mapping[str, Any]], columns: Any, note: str
) -> Table:
  lines = [
    [title_of(row['name']), *(cell(row) for cell in columns.values())]
    for row in rows
  ]
  return Table(title, ['Variant', *columns], lines, note)


def _mib(num_bytes: int) -> str:
  return f'{num_bytes / _MIB:,.0f}'


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Returns the most of any variant, field by field."""
  joined: dict[str, Any] = {}
  for field, value in rows[0].items():
    values = [row[field] for row in rows]
    if field in _JOINED:
      joined[field] = _JOINED[field](values)
    elif isinstance(value, int | float):
      joined[field] = max(values)
    elif isinstance(value, str):
      joined[field] = value
  return joined
