"""Random schemes, values and faults, against the slow implementation."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fps_jax.sharing import decoding, reference
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir

PRIMES = (17, 257, 65537, 2**19 - 1, 2**22 - 3, 2**31 - 1)
MOST_SERVERS = 9


class Case(NamedTuple):
  """A scheme, and words of two columns of two clients."""

  scheme: Shamir
  secrets_CxLxM: np.ndarray
  random_CxTxM: np.ndarray
  servers: list[int]


@st.composite
def schemes(draw: st.DrawFn) -> Shamir:
  num_servers = draw(st.integers(1, MOST_SERVERS - 1))
  threshold = draw(st.integers(1, num_servers))
  secrets = draw(st.integers(1, threshold))
  prime = draw(st.sampled_from(PRIMES))
  return Shamir(PrimeField(prime), num_servers, threshold, secrets)


@st.composite
def cases(draw: st.DrawFn) -> Case:
  scheme = draw(schemes())
  p = scheme.field.modulus
  word = st.one_of(st.sampled_from([0, 1, p - 1]), st.integers(0, p - 1))

  def words(rows: int) -> np.ndarray:
    size = 2 * rows * 2
    drawn = draw(st.lists(word, min_size=size, max_size=size))
    return np.array(drawn, np.uint32).reshape(2, rows, 2)

  split = scheme.secrets_per_polynomial
  return Case(
    scheme,
    words(split),
    words(scheme.num_random),
    draw(st.permutations(scheme.server_points)),
  )


@pytest.mark.slow
@settings(max_examples=25)
@given(cases())
def test_any_k_servers_open_secrets_and_their_sums(case: Case) -> None:
  scheme, p = case.scheme, case.scheme.field.modulus
  num_servers, k = scheme.num_servers, scheme.threshold
  shares = [
    np.asarray(scheme.share_with(secrets, random))
    for secrets, random in zip(
      case.secrets_CxLxM, case.random_CxTxM, strict=True
    )
  ]
  for client, held in enumerate(shares):
    for column in range(2):
      expected = reference.share(
        case.secrets_CxLxM[client, :, column].tolist(),
        case.random_CxTxM[client, :, column].tolist(),
        num_servers,
        p,
      )
      assert held[:, column].tolist() == expected
  present = case.servers[:k]
  absent = np.array(case.servers[k:], int) - 1
  total = np.asarray(scheme.field.add(*shares)).copy()
  total[absent] = p - 1  # Nobody reads what they hold.
  expected = case.secrets_CxLxM.sum(0, np.uint64) % p
  opened = scheme.reconstruct(total, present)
  np.testing.assert_array_equal(opened, expected)
  for column in range(2):
    held = {server: int(total[server - 1, column]) for server in present}
    slow = reference.reconstruct(held, scheme.secrets_per_polynomial, p)
    assert slow == expected[:, column].tolist()


class Fault(NamedTuple):
  """The shares of one polynomial, some of them missing, others wrong."""

  scheme: Shamir
  secrets: list[int]
  shares: dict[int, int]
  wrong: set[int]


@st.composite
def faults(draw: st.DrawFn) -> Fault:
  scheme = draw(schemes())
  p, k = scheme.field.modulus, scheme.threshold
  word = st.integers(0, p - 1)
  polynomial = draw(st.lists(word, min_size=k, max_size=k))
  shares = {
    server: reference.evaluate(polynomial, server, p)
    for server in draw(st.permutations(scheme.server_points))
  }
  for _ in range(draw(st.integers(0, scheme.num_servers - k))):
    shares.popitem()
  num_wrong = draw(st.integers(0, (len(shares) - k) // 2))
  wrong = set(list(shares)[:num_wrong])
  for server in wrong:
    shares[server] = (shares[server] + draw(st.integers(1, p - 1))) % p
  secrets = [
    reference.evaluate(polynomial, -i, p)
    for i in range(scheme.secrets_per_polynomial)
  ]
  return Fault(scheme, secrets, shares, wrong)


@pytest.mark.slow
@settings(max_examples=300)
@given(faults())
def test_faults_within_the_bound_are_located_and_left_out(fault: Fault) -> None:
  p, k = fault.scheme.field.modulus, fault.scheme.threshold
  found = decoding.locate_errors(fault.shares, k, p)
  assert found == fault.wrong
  assert reference.locate_errors(fault.shares, k, p) == fault.wrong
  left = [server for server in fault.shares if server not in fault.wrong]
  opening = fault.scheme.opening(left)
  opened = [
    sum(
      int(factor) * fault.shares.get(server, 0)
      for server, factor in enumerate(row, 1)
    )
    % p
    for row in opening
  ]
  assert opened == fault.secrets
