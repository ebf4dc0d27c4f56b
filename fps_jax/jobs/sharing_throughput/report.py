"""Tables and the figure of the sharing benchmark."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib import figure as mpl_figure

from fps_jax.results.tables import Table
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.schemes.channels import Sent, ShareChannel
from fps_jax.sharing.shamir import Shamir

_CASE = '(N, k, l), prime'
# Key of a measured row, and its column.
_SPEEDS = (
  ('share_given', 'Share, words given'),
  ('share_cipher', 'Share'),
  ('share_cipher_in_program', 'Share, in program'),
  ('add_to_sums', 'Share and add'),
  ('sum', 'Sum (words)'),
  ('reconstruct', 'Reconstruct'),
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
    f'{row["share_cipher_million_per_second"]:.0f} million secrets shared a '
    f'second, {row["share_given_over_copy"]:.2f}x a copy with words given'
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
    axes.plot(words, speeds, 'k--', label='galois: share')
  axes.set_xscale('log', base=2)
  axes.set_yscale('log')
  axes.set_xlabel('Words of a share')
  axes.set_ylabel('Million secrets a second')
  axes.set_title(_name(rows[0]), fontsize=9)
  axes.grid(alpha=0.3)
  figure.legend(loc='outside right center', fontsize=7)
  figure.savefig(path, dpi=200)


def tables(results: Mapping[str, Any]) -> Iterator[Table]:
  """Yields the tables of all that was measured."""
  rows, cipher = results['rows'], results['cipher']
  yield Table(
    'Million secrets a second. Keystream alone, million words a second: '
    f'OpenSSL {cipher["openssl_million_words_per_second"]:.0f}, '
    f'XLA {cipher["xla_million_words_per_second"]:.0f}.',
    [_CASE, 'Words', *(label for _, label in _SPEEDS)],
    [
      [
        _name(row),
        f'{row["words"]:,}',
        *(f'{row[f"{key}_million_per_second"]:,.0f}' for key, _ in _SPEEDS),
      ]
      for row in rows
    ],
  )
  yield Table(
    'Bytes moved a second over those of a NumPy copy; page faults of sharing '
    'and adding; times as fast as galois.',
    [
      _CASE,
      'Words',
      'Copy (GB/s)',
      *(label for _, label in _FACTORS),
      'Faults',
      'Share / galois',
      'Open / galois',
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
  )
  yield Table(
    f'Uplink a client and round: {_UPLINK_PARAMETERS:,} parameters, '
    f'{_UPLINK_KEPT:,} kept, seeds.',
    [_CASE, 'Bytes'],
    [
      [_name(row), f'{row["uplink_bytes"]:,}']
      for row in results['uplink_bytes']
    ],
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
