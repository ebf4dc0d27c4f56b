"""Tests of `fps_jax.sharing.decoding` against trying every k of the shares."""

import functools
import itertools
import math
import random
from collections.abc import Iterator, Mapping

import pytest

from fps_jax.sharing import reference
from fps_jax.sharing.decoding import locate_errors, max_errors

LARGEST = 2**31 - 1
# Servers present and threshold: from none to spare to all but one.
SIZES = [(n, k) for n in (1, 2, 5, 7, 10) for k in range(1, n + 1)]


def draw_code_word(
  rng: random.Random, n: int, k: int, p: int
) -> dict[int, int]:
  """Returns n shares of a polynomial of degree below k, of any servers."""
  # Often of a lower degree, or zero: where the algorithm has no leading term.
  coefficients = [rng.choice((0, rng.randrange(p))) for _ in range(k)]
  servers = rng.sample(range(1, 11), n)
  return {x: reference.evaluate(coefficients, x, p) for x in servers}


def spoil(
  rng: random.Random, shares: Mapping[int, int], num_wrong: int, p: int
) -> tuple[dict[int, int], frozenset[int]]:
  """Returns the shares, that many of them wrong, and which."""
  wrong = frozenset(rng.sample(list(shares), num_wrong))
  spoiled = {
    x: (share + rng.randrange(1, p)) % p if x in wrong else share
    for x, share in shares.items()
  }
  return spoiled, wrong


def words_over(p: int, num_servers: int) -> Iterator[dict[int, int]]:
  for servers in itertools.combinations(range(1, p), num_servers):
    for word in itertools.product(range(p), repeat=num_servers):
      yield dict(zip(servers, word, strict=True))


@pytest.mark.parametrize(
  ('num_present', 'threshold'),
  [(n, k) for n in range(1, 5) for k in range(1, n + 1)],
)
def test_every_word_over_a_field_of_5_elements(
  num_present: int, threshold: int
) -> None:
  verdicts = set()
  for shares in words_over(5, num_present):
    located = locate_errors(shares, threshold, 5)
    assert located == reference.locate_errors(shares, threshold, 5)
    verdicts.add(None if located is None else len(located))
  expected = set(range(max_errors(num_present, threshold) + 1))
  # Without a spare server, every word is one of the code.
  assert verdicts == expected | ({None} if num_present > threshold else set())


def code_words(p: int, n: int, k: int) -> list[tuple[int, ...]]:
  polynomials = itertools.product(range(p), repeat=k)
  points = range(1, n + 1)
  return [
    tuple(reference.evaluate(polynomial, x, p) for x in points)
    for polynomial in polynomials
  ]


@functools.cache
def verdicts_on_errors(
  p: int, n: int, k: int
) -> list[tuple[frozenset[int], frozenset[int] | None]]:
  """Returns who is wrong and who is found, for every word and every sum."""
  found = {
    word: locate_errors(dict(enumerate(word, 1)), k, p)
    for word in itertools.product(range(p), repeat=n)
  }
  return [
    (frozenset(i for i in range(1, n + 1) if word[i - 1] != sent[i - 1]), named)
    for sent in code_words(p, n, k)
    for word, named in found.items()
  ]


# All that a field of 5 has points for, up to all but one server to spare.
ALL_SIZES = [(n, k) for n in range(1, 5) for k in range(1, n + 1)]


@pytest.mark.slow
@pytest.mark.parametrize(('n', 'k'), ALL_SIZES)
def test_wrong_answers_are_corrected_and_noticed_as_far_as_is_said(
  n: int, k: int
) -> None:
  """The bounds of `audit`, of every word; and more are not noticed."""
  correctable, detectable = (n - k) // 2, n - k
  is_missed = False
  for wrong, named in verdicts_on_errors(5, n, k):
    if len(wrong) <= correctable:
      assert named == wrong
    elif len(wrong) <= detectable - correctable:
      assert named is None
    elif len(wrong) <= detectable:
      assert named is None or named
    else:
      is_missed |= named == frozenset()
  assert is_missed


@pytest.mark.parametrize(('n', 'k'), [(n, k) for n, k in ALL_SIZES if k < n])
def test_random_errors_are_taken_for_others_as_seldom_as_is_said(
  n: int, k: int
) -> None:
  correctable = (n - k) // 2
  sent = code_words(5, n, k)[-1]
  for num_liars in range(correctable + 1, n + 1):
    words = itertools.product(range(5), repeat=num_liars)
    num_missed = 0
    for lies in words:
      word = (*lies, *sent[num_liars:])
      wrong = {i + 1 for i in range(n) if word[i] != sent[i]}
      named = locate_errors(dict(enumerate(word, 1)), k, 5)
      num_missed += named is not None and named != wrong
    # One word; an audit's are as many as make 5 to that power 2^40.
    assert num_missed * 5 <= math.comb(n, correctable) * 5**num_liars


@pytest.mark.parametrize('p', [11, LARGEST])
@pytest.mark.parametrize(('num_present', 'threshold'), SIZES)
def test_up_to_half_the_spare_servers_are_located_exactly(
  num_present: int, threshold: int, p: int
) -> None:
  # The guarantee of `locate_errors`.
  rng = random.Random(num_present + 100 * threshold + p)
  for num_wrong in range((num_present - threshold) // 2 + 1):
    for _ in range(10):
      shares = draw_code_word(rng, num_present, threshold, p)
      spoiled, wrong = spoil(rng, shares, num_wrong, p)
      assert locate_errors(spoiled, threshold, p) == wrong


@pytest.mark.slow
@pytest.mark.parametrize('p', [11, LARGEST])
@pytest.mark.parametrize(
  ('num_present', 'threshold'), [(5, 3), (6, 3), (7, 3), (8, 5), (10, 7)]
)
def test_any_number_of_wrong_shares_is_decoded_as_by_trying_all(
  num_present: int, threshold: int, p: int
) -> None:
  rng = random.Random(p)
  bound, verdicts = max_errors(num_present, threshold), []
  for num_wrong in range(num_present + 1):
    for _ in range(4):
      shares = draw_code_word(rng, num_present, threshold, p)
      spoiled, _ = spoil(rng, shares, num_wrong, p)
      located = locate_errors(spoiled, threshold, p)
      assert located == reference.locate_errors(spoiled, threshold, p)
      if num_wrong > bound:
        verdicts.append(located)
  assert None in verdicts


@pytest.mark.parametrize(('num_present', 'threshold'), SIZES)
def test_none_beyond_half_the_spare_servers(
  num_present: int, threshold: int
) -> None:
  # In so large a field, random errors never look like another polynomial.
  rng, bound = random.Random(1), max_errors(num_present, threshold)
  for num_wrong in range(bound + 1, num_present + 1):
    shares = draw_code_word(rng, num_present, threshold, LARGEST)
    spoiled, _ = spoil(rng, shares, num_wrong, LARGEST)
    expected = None if num_present > threshold else frozenset()
    assert locate_errors(spoiled, threshold, LARGEST) == expected


def test_errors_beyond_the_bound_can_look_like_others() -> None:
  # Servers 3 and 4 of threshold 3 add multiples of (x - 1)(x - 2), which is
  # zero at servers 1 and 2: what is left seems to be an error of server 5.
  honest = {x: 7 + 5 * x + 3 * x**2 for x in range(1, 6)}
  shares = {x: honest[x] + (x - 1) * (x - 2) * (x in (3, 4)) for x in honest}
  assert locate_errors(shares, 3, 101) == {5}
  assert reference.locate_errors(shares, 3, 101) == {5}


def test_shares_need_neither_order_nor_reduction() -> None:
  shares = {4: 99, 2: 9 + 101, 5: 12 - 101, 1: 8, 3: 10}
  assert locate_errors(shares, 3, 101) == {4}


@pytest.mark.parametrize(
  ('num_present', 'threshold', 'expected'),
  [(3, 3, 0), (4, 3, 0), (5, 3, 1), (6, 3, 1), (7, 3, 2), (2, 3, 0)],
)
def test_max_errors_is_half_the_spare_servers(
  num_present: int, threshold: int, expected: int
) -> None:
  assert max_errors(num_present, threshold) == expected
