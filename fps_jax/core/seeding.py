"""Many of NumPy's generators at the price of one.

`np.random.default_rng` takes ten microseconds, nearly all of it for turning its
entropy into a state. Here that is done for all of them at once, in arrays. The
states are those of NumPy, which promises that a seed gives `PCG64` the same
stream for ever.

References: M. E. O'Neill, Developing a seed_seq alternative, 2015, for the
mixing; M. E. O'Neill, PCG: A family of simple fast space-efficient
statistically good algorithms for random number generation, 2014, for the state.
"""

from collections.abc import Iterator, Sequence

import numpy as np

_POOL_WORDS = 4
_WORD = 2**32
_STATE = 2**128
# Of O'Neill's seed_seq: where a hash begins, and what each step multiplies.
_ABSORB = (0x43B0D7E5, 0x931E8875)
_SQUEEZE = (0x8B51F9DD, 0x58F38DED)
_MIX = (np.uint32(0xCA01F9DD), np.uint32(0x4973F715))
# Of PCG's linear congruential generator of 128 bits.
_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645


def generators(
  entropy: Sequence[int], last: np.ndarray
) -> Iterator[np.random.Generator]:
  """Yields `np.random.default_rng([*entropy, n])` for each number n.

  It is one generator whose state is set anew: each has to be used before the
  next one is asked for.

  Args:
    entropy: ints in [0, 2^32).
    last: ints [G] in [0, 2^32).

  Raises:
    ValueError: if a number is out of range: a larger one would be another's.
  """
  last = np.asarray(last, np.int64)
  for number in (*entropy, *last[:1], *last[last >= _WORD], *last[last < 0]):
    if not 0 <= number < _WORD:
      raise ValueError(f'{number} is not in [0, 2**32): number from 0')
  words = [np.full(last.shape, word, np.uint32) for word in entropy]
  states_Gx4 = _states([*words, last.astype(np.uint32)])
  bits = np.random.PCG64(0)
  generator, state = np.random.Generator(bits), bits.state
  for a, b, c, d in states_Gx4.tolist():
    increment = (c << 65 | d << 1 | 1) % _STATE
    start = (a << 64 | b) + increment
    state['state'] = {
      'state': (start * _MULTIPLIER + increment) % _STATE,
      'inc': increment,
    }
    bits.state = state
    yield generator


class _Hash:
  """A hash whose constant changes with every word, but not with its value."""

  def __init__(self, first: int, multiplier: int):
    self._constant, self._multiplier = first, multiplier

  def __call__(self, words_G: np.ndarray) -> np.ndarray:
    """Returns the hash of a word of each generator, uint32 [G]."""
    words_G = words_G ^ np.uint32(self._constant)
    self._constant = self._constant * self._multiplier % _WORD
    words_G = words_G * np.uint32(self._constant)
    return words_G ^ words_G >> np.uint32(16)


def _states(entropy: Sequence[np.ndarray]) -> np.ndarray:
  """Returns four words of each `SeedSequence`, uint64 [G, 4].

  Args:
    entropy: uint32 [G] each.
  """
  nothing = [np.zeros_like(entropy[0])] * (_POOL_WORDS - len(entropy))
  absorb = _Hash(*_ABSORB)
  pool = [absorb(words) for words in [*entropy, *nothing][:_POOL_WORDS]]
  for source in range(_POOL_WORDS):
    for place in range(_POOL_WORDS):
      if place != source:
        pool[place] = _mix(pool[place], absorb(pool[source]))
  for words in entropy[_POOL_WORDS:]:
    pool = [_mix(mixed, absorb(words)) for mixed in pool]
  squeeze = _Hash(*_SQUEEZE)
  halves = [squeeze(words).astype(np.uint64) for words in (*pool, *pool)]
  pairs = zip(halves[::2], halves[1::2], strict=True)
  return np.stack([low | high << np.uint64(32) for low, high in pairs], axis=-1)


def _mix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  mixed: np.ndarray = _MIX[0] * a - _MIX[1] * b
  return mixed ^ mixed >> np.uint32(16)
