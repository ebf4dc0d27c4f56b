"""One's own vectors, shared and opened without keys or columns."""

import itertools
import re

import jax
import numpy as np
import pytest

from fps_jax.sharing import randomness
from fps_jax.sharing.audit import SharingError
from fps_jax.sharing.vector_sharing import Shamir

KEY = randomness.root_key(0)


def tiny(**changes) -> Shamir:
  """Returns the smallest scheme with privacy, changed."""
  return Shamir(
    **{
      'num_servers': 3,
      'threshold': 2,
      'prime': 7,
      'value_bits': 2,
      'max_clients': 3,
      **changes,
    }
  )


@pytest.mark.slow
def test_any_k_servers_open_every_vector():
  scheme = tiny()
  everything = np.arange(7)
  shares_NxM = np.asarray(scheme.share(everything))
  for size in (2, 3):
    for present in itertools.permutations((1, 2, 3), size):
      rows = shares_NxM[np.array(present) - 1]
      np.testing.assert_array_equal(
        scheme.reconstruct(rows, present), everything
      )


def test_packed_vector_is_opened_in_its_order():
  scheme = Shamir(num_servers=5, threshold=4, secrets_per_polynomial=3)
  words = np.arange(12)
  shares_NxM = scheme.share(words)
  assert shares_NxM.shape == (5, 4)
  np.testing.assert_array_equal(scheme.reconstruct(shares_NxM), words)


def test_share_of_one_server_takes_every_value_for_every_secret():
  """The first server's share is uniform, whatever the secret."""
  scheme = tiny()
  for secret in (0, 3):
    keys = (randomness.root_key(seed) for seed in range(80))
    seen = {int(scheme.share([secret], key)[0, 0]) for key in keys}
    assert seen == set(range(7))


def test_key_gives_shares_again_and_none_gives_others():
  scheme = Shamir()
  np.testing.assert_array_equal(
    scheme.share([1, 2], KEY), scheme.share([1, 2], KEY)
  )
  np.testing.assert_array_equal(
    scheme.share_floats([0.1, 0.2], KEY), scheme.share_floats([0.1, 0.2], KEY)
  )
  assert np.any(scheme.share([1, 2]) != scheme.share([1, 2]))


@pytest.mark.slow
def test_sum_of_floats_is_off_by_less_than_a_step_for_each_client():
  scheme = Shamir(clip=2.0, value_bits=12)
  values_CxM = np.random.default_rng(0).uniform(-2, 2, (6, 50))
  shares = [scheme.share_floats(values_M) for values_M in values_CxM]
  opened_M = scheme.reconstruct_floats(scheme.add(*shares))
  assert np.abs(opened_M - values_CxM.sum(axis=0)).max() < 6 * scheme.step


@pytest.mark.slow
def test_shares_are_taken_as_any_integers_and_numbers_as_those_of_numpy():
  scheme = tiny(prime=np.int64(7), num_servers=np.int32(3))
  shares_NxM = np.asarray(scheme.share([1, 6])).astype(np.int64)
  assert scheme.reconstruct(shares_NxM.tolist()).tolist() == [1, 6]
  assert scheme.share([]).shape == scheme.share_floats([]).shape == (3, 0)


def test_wrong_share_is_named_where_more_than_k_servers_answer():
  shares_NxM = np.array(Shamir().share(np.arange(4)))
  shares_NxM[3, 2] ^= 1
  with pytest.raises(
    SharingError, match=r'if at most 1 .*those of \[4\]: leave'
  ):
    Shamir().reconstruct(shares_NxM)
  present = (1, 2, 3, 5)
  rows = shares_NxM[np.array(present) - 1]
  np.testing.assert_array_equal(
    Shamir().reconstruct(rows, present), np.arange(4)
  )


def test_wrong_share_is_noticed_where_it_cannot_be_named():
  scheme = Shamir(num_servers=4, threshold=3)
  shares_NxM = np.array(scheme.share(np.arange(4)))
  shares_NxM[3, 2] ^= 1
  with pytest.raises(SharingError, match='more are wrong than can be told'):
    scheme.reconstruct(shares_NxM)


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    ([1.5], r'words are float64 \[1\], must be integers: nothing is'),
    ([True], r'words are bool \[1\], must be integers'),
    ([[1]], r'words have shape \[1, 1\], must have \[n\]: flatten'),
    (3, r'words have shape \[\], must have \[n\]: flatten'),
    ([0, 7], r'words is 7 at \[1\], must be in \[0, 6\]: reduce them modulo'),
    ([-1], r'words is -1 at \[0\], must be in \[0, 6\]'),
  ],
)
def test_words_that_do_not_fit_are_refused(words, message):
  with pytest.raises(ValueError, match=message):
    tiny().share(words)


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ([1.5], r'values is 1.5 at \[0\], must be in \[-1.0, 1.0\]: raise clip'),
    ([np.nan], r'values is nan at \[0\]'),
    ([[0.5]], r'values are float64 \[1, 1\], must be floats \[n\]'),
    (['a'], 'must be floats'),
  ],
)
def test_floats_that_do_not_fit_are_refused(values, message):
  with pytest.raises(ValueError, match=message):
    tiny().share_floats(values)


def test_shares_that_do_not_fit_are_refused():
  scheme = tiny()
  shares_NxM = scheme.share([1, 2])
  with pytest.raises(ValueError, match=r'shares is uint32 \[2, 2\], must be'):
    scheme.reconstruct(shares_NxM[:2])
  with pytest.raises(ValueError, match='1 of 3 servers answer'):
    scheme.reconstruct(shares_NxM[:1], present=(1,))
  with pytest.raises(ValueError, match=r'servers \(1, 4\) must be distinct'):
    scheme.reconstruct(shares_NxM[:2], present=(1, 4))
  with pytest.raises(ValueError, match=re.escape('of shapes [(3, 2), (2, 2)]')):
    scheme.add(shares_NxM, shares_NxM[:2])
  with pytest.raises(ValueError, match='give one or more'):
    scheme.add()
  with pytest.raises(
    ValueError, match=r'4 vectors are more than max_clients=3'
  ):
    scheme.add(*[shares_NxM] * 4)
  beyond = np.asarray(shares_NxM).astype(np.uint64) + np.uint64(2**32)
  for call in (scheme.reconstruct, scheme.add):
    with pytest.raises(ValueError, match=r'shares is \d+ at \[0, 0\], must be'):
      call(beyond)
  with pytest.raises(ValueError, match=r'present=2\.0 is of type float'):
    scheme.reconstruct(shares_NxM[:2], present=(1, 2.0))
  with pytest.raises(ValueError, match=r'1 words are no multiple of .*=2: add'):
    tiny(secrets_per_polynomial=2).share([1])


def test_numbers_that_do_not_fit_are_refused_at_once():
  with pytest.raises(ValueError, match=r'threshold=4 must be in \[1, num_serv'):
    Shamir(num_servers=3, threshold=4)
  with pytest.raises(ValueError, match='clip=0 must be above 0'):
    Shamir(clip=0)
  with pytest.raises(ValueError, match='would wrap'):
    Shamir(max_clients=10**6)


def test_sharing_inside_of_a_program_says_why_it_cannot_be():
  with pytest.raises(jax.errors.TracerArrayConversionError):
    jax.jit(Shamir().share)(np.arange(3))
