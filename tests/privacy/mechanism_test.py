"""Tests of `fps_jax.privacy.mechanism`."""

import re

import pytest

from fps_jax.privacy.mechanism import make_mechanism
from fps_jax.privacy.wrapping import Words, log2_wrap_probability

WORDS = Words(100, 1, dimension=20_000, rounds=30, prime=2**20 - 3)


@pytest.mark.parametrize('block', [0, 1024])
def test_levels_are_the_most_that_do_not_wrap(block: int) -> None:
  words = WORDS._replace(block=block)
  made = make_mechanism(1.5, 90, words, 2**-40)
  assert -41 < made.log2_wrap_probability <= -40
  more = made.words._replace(levels=made.words.levels + 10)
  assert log2_wrap_probability(more, made.variance) > -40


def test_rotation_gives_more_levels() -> None:
  plain = make_mechanism(1.0, 90, WORDS, 2**-40)
  rotated = make_mechanism(1.0, 90, WORDS._replace(block=1024), 2**-40)
  assert rotated.words.levels > 3 * plain.words.levels


@pytest.mark.parametrize('noise_multiplier', [0.3, 1.0, 7.7])
def test_noise_of_the_fewest_clients_is_what_is_asked(
  noise_multiplier: float,
) -> None:
  made = make_mechanism(noise_multiplier, 40, WORDS, 2**-40)
  assert noise_multiplier <= made.noise_multiplier < 1.001 * noise_multiplier
  assert made.rounding_cost < 1.01


def test_too_few_bits_are_an_error_that_says_how_many_are_needed() -> None:
  words = WORDS._replace(num_clients=1000, prime=2**16 - 15)
  with pytest.raises(ValueError, match=r'words of 16 bits') as caught:
    make_mechanism(1.0, 900, words, 2**-40)
  assert 'privacy.rotate=True' in str(caught.value)
  need = int(re.findall(r'takes (\d+) bits', str(caught.value))[0])
  assert need > 16
  enough = words._replace(prime=2**need - 1)
  assert make_mechanism(1.0, 900, enough, 2**-40).rounding_cost <= 2
  with pytest.raises(ValueError, match='takes more than 31 bits'):
    make_mechanism(1e9, 900, words, 2**-40)


@pytest.mark.parametrize(
  ('changes', 'expected'),
  [
    ({'noise_multiplier': 0.0}, 'noise_multiplier=0.0 must be above 0'),
    ({'wrap_probability': 1.0}, r'wrap_probability=1\.0 must be .* below 1'),
    ({'min_honest': 101}, r'min_honest=101 must be in \[1, 100\]'),
  ],
)
def test_arguments_out_of_range_are_refused(changes, expected: str) -> None:
  arguments = {
    'noise_multiplier': 1.0,
    'min_honest': 90,
    'words': WORDS,
    'wrap_probability': 2**-40,
  }
  with pytest.raises(ValueError, match=expected):
    make_mechanism(**(arguments | changes))
