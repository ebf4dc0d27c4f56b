"""Tables and the figure of the sharing benchmark."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib import figure as mpl_figure

from fps_jax.results.tables import Table
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.schemes.channels import Sent, ShareChannel
from fps_jax.sharing.shamir import Shamir

_CASE = 'Sharing (N, k, l), prime'
_WORDS = 'Words per share'
_SPEED_NOTES = (
  'Sharing (N, k, l): N servers hold shares, any k of them open, and each word '
  'of a share holds l secrets.\n'
  'Share: expands the seeds and computes the other shares.\n'
  'Share inside a program: the same as rounds do it, with random words of XLA '
  'in place of those of OpenSSL.\n'
  'Share and add: also adds every share to a sum.'
)
_COPY_NOTES = (
  'Copy: the bytes that a NumPy copy reads and writes in a second.\n'
  'Share, Open, Sum: the bytes that each moves in a second over those of the '
  'copy. Random words are given.\n'
  'Page faults: of sharing and adding.\n'
  'Times galois: how many times as fast as the package galois. A dash where it '
  'was not measured.'
)
# Key of a measured row, and its column.
_SPEEDS = (
  ('share_given', 'Share, random words given'),
  ('share_cipher', 'Share'),
  ('share_cipher_in_program', 'Share inside a program'),
  ('add_to_sums', 'Share and add'),
  ('sum', 'Sum (words)'),
  ('reconstruct', 'Open'),
  ('check', 'Check'),
)
_UPLINK_SCHEMES = ((5, 3, 1), (3, 2, 1), (5, 4, 2), (7, 5, 2), (10, 8, 4))
_UPLINK_PRIMES = (2**31 - 1, 2**22 - 3, 2**19 - 1)
_UPLINK_PARAMETERS, _UPLINK_KEPT = 1_000_000, 100_000
_FACTORS = (('share_given', 'Share'), ('reconstruct', 'Open'), ('sum', 'Sum'))


def progress_line(row: Mapping[str, Any]) -> str:
  """Returns a line that says what was just measured."""
  return (
    f'{_name(row)}, {row["words"]:,} words: '
    f'{row["share_cipher_million_per_second"]:.0f} million secrets shared per '
    f'second; {row["share_given_over_copy"]:.2f}x a copy, random words given'
  )


def uplink_bytes() -> list[dict[str, float]]:
  """Returns bytes a client and round: 1,000,000 parameters, 10 % kept."""
  return [
    {
      'num_servers': numbers[0],
      'threshold': numbers[1],
      'secrets_per_polynomial': numbers[2],
      'prime': prime,
      'uplink_bytes': ShareChannel(
        Shamir(PrimeField(prime), *numbers)
      ).uplink_bytes(Sent(_UPLINK_PARAMETERS, _UPLINK_KEPT, num_reporting=1)),
    }
    for numbers in _UPLINK_SCHEMES
    for prime in _UPLINK_PRIMES
  ]


def write_figure(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  """Draws throughput over the length of a share, for the first scheme."""
  first = [row for row in rows if _name(row) == _name(rows[0])]
  figure = mpl_figure.Figure(figsize=(5, 3.2), layout='constrained')
  axes = figure.add_subplot()
  words = [row['words'] for row in first]
  for (key, label), marker in zip(_SPEEDS, 'osD^vPX', strict=True):
    speeds = [row[f'{key}_million_per_second'] for row in first]
    axes.plot(words, speeds, marker=marker, markersize=4, label=label)
  theirs = 'galois_share_drawn_million_per_second'
  if theirs in first[0]:
    speeds = [row[theirs] for row in first]
    axes.plot(words, speeds, 'k--', label='Share, by galois')
  axes.set_xscale('log', base=2)
  axes.set_yscale('log')
  axes.set_xlabel(_WORDS)
  axes.set_ylabel('Million secrets per second')
  axes.set_title(f'{_CASE}: {_name(rows[0])}', fontsize=9)
  axes.grid(alpha=0.3)
  figure.legend(loc='outside right center', fontsize=7)
  figure.savefig(path, dpi=200)


def tables(results: Mapping[str, Any]) -> Iterator[Table]:
  """Yields the tables of all that was measured."""
  rows, cipher = results['rows'], results['cipher']
  yield Table(
    'Million secrets per second',
    [_CASE, _WORDS, *(label for _, label in _SPEEDS)],
    [
      [
        _name(row),
        f'{row["words"]:,}',
        *(f'{row[f"{key}_million_per_second"]:,.0f}' for key, _ in _SPEEDS),
      ]
      for row in rows
    ],
    f'{_SPEED_NOTES}\n'
    'Random words alone, million words per second: '
    f'OpenSSL {cipher["openssl_million_words_per_second"]:.0f}, '
    f'XLA {cipher["xla_million_words_per_second"]:.0f}.',
  )
  yield Table(
    'Speed beside that of a memory copy, and of galois',
    [
      _CASE,
      _WORDS,
      'Copy (GB/s)',
      *(label for _, label in _FACTORS),
      'Page faults',
      'Share, times galois',
      'Open, times galois',
    ],
    [
      [
        _name(row),
        f'{row["words"]:,}',
        f'{row["copy_gigabytes_per_second"]:.1f}',
        *(f'{row[f"{key}_over_copy"]:.2f}x' for key, _ in _FACTORS),
        f'{row["add_to_sums_page_faults"]:.0f}',
        *_galois_factors(row),
      ]
      for row in rows
    ],
    _COPY_NOTES,
  )
  yield Table(
    'Uplink per client and round',
    [_CASE, 'Uplink (bytes)'],
    [
      [_name(row), f'{row["uplink_bytes"]:,}']
      for row in results['uplink_bytes']
    ],
    f'Of {_UPLINK_PARAMETERS:,} parameters, {_UPLINK_KEPT:,} are kept and '
    'sent. The first k - l servers are sent a seed for their share.',
  )


def _galois_factors(row: Mapping[str, Any]) -> list[str]:
  pairs = (('share_cipher', 'share_drawn'), ('reconstruct', 'reconstruct'))
  cells = []
  for ours, theirs in pairs:
    speed = row.get(f'galois_{theirs}_million_per_second')
    own = row[f'{ours}_million_per_second']
    cells.append(f'{own / speed:.1f}x' if speed else '-')
  return cells


def _name(row: Mapping[str, Any]) -> str:
  numbers = (
    row['num_servers'],
    row['threshold'],
    row['secrets_per_polynomial'],
  )
  prime = row['prime']
  bits = prime.bit_length()
  return f'{numbers}, 2^{bits} - {2**bits - prime}'
