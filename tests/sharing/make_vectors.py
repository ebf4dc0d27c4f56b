"""Makes `vectors.json`: examples of sharing, for this and other programs.

  python -m tests.sharing.make_vectors

writes it anew, next to this file, from `fps_jax.sharing.reference` alone; a
test compares the result to the committed file. Bytes are in hexadecimal, rows
of words in the order of secrets, seeds or servers. Three
lists:

`honest`: two clients share their secrets in a round, servers 1 .. N add what
they receive, and every k of them open the sum. `packed` is the first client's
share for server N as it is sent.

`audited`: the sums of servers, some of them wrong, their combinations under
the round's public coins (a row a coin), and the verdict on the servers
`present`: which of them are found to be `wrong`, or null if the sums contradict
each other and it cannot be told whose is. The cases beyond the bound show what
an audit does not promise, too.

`headers`: the first 32 bytes of messages of every kind.
"""

import itertools
import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

from fps_jax.sharing import reference

PATH = pathlib.Path(__file__).with_name('vectors.json')
PRIMES = (2**31 - 1, 2**22 - 3, 2**19 - 1, 251)
# N, k, l.
SIZES = ((3, 2, 1), (5, 3, 1), (5, 4, 2), (7, 5, 2), (10, 8, 4), (4, 4, 1))
AUDITED_PRIMES = (2**31 - 1, 251)
AUDITED_SIZES = ((5, 3, 1), (7, 3, 1), (7, 5, 2), (5, 4, 2))
# One more than a block of ChaCha20 has words.
NUM_COLUMNS = 17
NUM_AUDITED_COLUMNS = 3
KINDS = range(1, 10)

Rows = list[list[int]]


class Round:
  """Two clients' secrets and shares in one round under one root key."""

  def __init__(
    self,
    prime: int,
    sizes: tuple[int, int, int],
    run_seed: int,
    round_number: int,
    num_columns: int,
    attempt: int = 0,
  ):
    self.prime = prime
    self.num_servers, self.threshold, self.num_secrets = sizes
    self.run_seed, self.round_number = run_seed, round_number
    self.root_key = reference.root_key(run_seed)
    self.attempt = attempt
    self.key = reference.derive(self.root_key, 'round', round_number, attempt)
    self.clients = (run_seed % 1000, 2**32 - 1)
    self.seeds = [
      reference.keys(self.key, 'share', self.threshold - self.num_secrets, c)
      for c in self.clients
    ]
    self.secrets = [self._draw_secrets(c, num_columns) for c in self.clients]
    self.shares = [
      reference.share_rows(secrets, seeds, self.num_servers, prime)
      for secrets, seeds in zip(self.secrets, self.seeds, strict=True)
    ]
    self.sums = add_rows(self.shares, prime)

  def numbers(self) -> dict[str, Any]:
    """Returns what tells the round: the scheme, the seed, the keys."""
    return {
      'prime': self.prime,
      'num_servers': self.num_servers,
      'threshold': self.threshold,
      'secrets_per_polynomial': self.num_secrets,
      'run_seed': self.run_seed,
      'root_key': self.root_key.hex(),
      'round': self.round_number,
      'attempt': self.attempt,
      'round_key': self.key.hex(),
    }

  def _draw_secrets(self, client: int, num_columns: int) -> Rows:
    # Any words would do; the first columns are the ends of the field.
    rows = []
    for i in range(self.num_secrets):
      key = reference.root_key(2**40 + client + i)
      words = reference.uniform(key, 0, num_columns, self.prime)
      rows.append([0, self.prime - 1, *words[2:]])
    return rows


def add_rows(terms: list[Rows], prime: int) -> Rows:
  """Returns the sum of rows, modulo the prime."""
  return [
    [sum(words) % prime for words in zip(*rows, strict=True)]
    for rows in zip(*terms, strict=True)
  ]


def make_honest(a_round: Round) -> dict[str, Any]:
  """Returns a round in which nobody errs."""
  num_servers, threshold = a_round.num_servers, a_round.threshold
  subsets = list(itertools.combinations(range(1, num_servers + 1), threshold))
  opened = []
  # The first and the last are one where k = N.
  for servers in dict.fromkeys((subsets[0], subsets[-1])):
    columns = [
      reference.reconstruct(
        {server: a_round.sums[server - 1][column] for server in servers},
        a_round.num_secrets,
        a_round.prime,
      )
      for column in range(NUM_COLUMNS)
    ]
    secrets = [list(row) for row in zip(*columns, strict=True)]
    if secrets != add_rows(a_round.secrets, a_round.prime):
      raise ArithmeticError(f'servers {servers} open another sum')
    opened.append({'servers': servers, 'secrets': secrets})
  clients = [
    {
      'client': client,
      'seeds': [seed.hex() for seed in seeds],
      'secrets': secrets,
      'shares': shares,
    }
    for client, seeds, secrets, shares in zip(
      a_round.clients,
      a_round.seeds,
      a_round.secrets,
      a_round.shares,
      strict=True,
    )
  ]
  packed = reference.pack_words(a_round.shares[0][-1], a_round.prime)
  return {
    **a_round.numbers(),
    'clients': clients,
    'sums': a_round.sums,
    'opened': opened,
    'packed': packed.hex(),
  }


def make_audited(a_round: Round, before: Round) -> Iterator[dict[str, Any]]:
  """Yields the verdicts on what servers may get wrong.

  Args:
    a_round: the round that is audited.
    before: another one of the same scheme and clients.
  """
  n, k, prime = a_round.num_servers, a_round.threshold, a_round.prime
  everyone, bound = range(1, n + 1), (n - k) // 2
  sums, of_one_client = a_round.sums, a_round.shares[0]
  last_word = {n: [*sums[-1][:-1], (sums[-1][-1] + 1) % prime]}
  one = [n] if bound else None
  yield audit('all right', a_round, {}, everyone, [])
  yield audit('one wrong word', a_round, last_word, everyone, one)
  replayed = {n: before.sums[n - 1]}
  yield audit('replayed round', a_round, replayed, everyone, one)
  other_clients = {n: of_one_client[n - 1]}
  yield audit('other clients', a_round, other_clients, everyone, one)
  swapped = {1: sums[1], 2: sums[0]}
  two = [1, 2] if bound > 1 else None
  yield audit('swapped rows', a_round, swapped, everyone, two)
  beyond = {i: before.sums[i - 1] for i in range(1, bound + 2)}
  yield audit('one beyond the bound', a_round, beyond, everyone, None)
  # One that is missing takes one spare server, one that is wrong takes two.
  for num_present in range(k, n):
    present = range(n - num_present + 1, n + 1)
    found = [n] if num_present >= k + 2 else None if num_present > k else []
    name = f'one wrong word, {num_present} present'
    yield audit(name, a_round, last_word, present, found)
  # Beyond the bound, liars that know the code can move the sum and have it
  # look as if others were wrong: here by multiples of a polynomial that is
  # zero at the first k - 1 servers.
  num_liars = n - k + 1 - bound
  colluding = {
    i: [(word + math.prod(i - j for j in range(1, k))) % prime for word in row]
    for i, row in enumerate(sums, 1)
    if k <= i < k + num_liars
  }
  framed = list(range(k + num_liars, n + 1))
  yield audit(
    'beyond the bound, in league', a_round, colluding, everyone, framed
  )


def make_headers() -> Iterator[dict[str, Any]]:
  """Yields headers of every kind, in the clear and of a scheme."""
  largest = {
    'round': 2**20 - 1,
    'attempt': 2**12 - 1,
    'sender': 2**32 - 1,
    'receiver': 2**32 - 2,
    'num_values': 2**32 - 3,
    'scheme': (2**16 - 1, 2**16 - 2, 2**16 - 3, 2**31 - 1, 1),
  }
  small: dict[str, Any] = {
    'round': 70_000,
    'attempt': 3,
    'sender': 8,
    'receiver': 5,
    'num_values': 100,
  }
  for kind in KINDS:
    for numbers in (small, {**small, 'scheme': (5, 4, 2, 524287, 0)}, largest):
      encoded = reference.header(kind, **numbers)
      yield {'kind': kind, **numbers, 'header': encoded.hex()}


def audit(
  name: str,
  a_round: Round,
  replaced: dict[int, list[int]],
  present: range,
  expected: list[int] | None,
) -> dict[str, Any]:
  """Returns sums of which some are replaced, and the verdict on them.

  Args:
    name: what happened.
    a_round: the round.
    replaced: server number to what it sends for its sum.
    present: the servers that answer.
    expected: those that are found to be wrong; None if they cannot be told.
  """
  prime = a_round.prime
  sums = [replaced.get(i, row) for i, row in enumerate(a_round.sums, 1)]
  coins = reference.keys(a_round.key, 'check', reference.num_checks(prime))
  checks = reference.combine(sums, coins, prime)
  located = [
    reference.locate_errors(
      {server: word[server - 1] for server in present},
      a_round.threshold,
      prime,
    )
    for word in checks
  ]
  blamed = {server for wrong in located for server in wrong or ()}
  found = None if None in located else sorted(blamed)
  if found != expected:
    raise ArithmeticError(f'{name}: found {found}, expected {expected}')
  return {
    'name': name,
    **a_round.numbers(),
    'present': list(present),
    'sums': sums,
    'checks': checks,
    'wrong': found,
  }


def make() -> str:
  """Returns the text of the file."""
  honest = [
    make_honest(Round(prime, sizes, 2**33 + i, 70_000 + i, NUM_COLUMNS, i % 3))
    for i, (prime, sizes) in enumerate(itertools.product(PRIMES, SIZES))
  ]
  audited: list[dict[str, Any]] = []
  for i, case in enumerate(itertools.product(AUDITED_PRIMES, AUDITED_SIZES)):
    before, a_round = (
      Round(*case, i, round_number, NUM_AUDITED_COLUMNS)
      for round_number in (6, 7)
    )
    audited += make_audited(a_round, before)
  lists = []
  every = {
    'honest': honest,
    'audited': audited,
    'headers': list(make_headers()),
  }
  for name, cases in every.items():
    lines = ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases)
    lists.append(f'"{name}":[\n{lines}\n]')
  return '{' + ',\n'.join(lists) + '}\n'


if __name__ == '__main__':
  PATH.write_text(make())
