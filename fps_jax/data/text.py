"""Made-up prose of clients that each have a style: text small enough for a CPU.

All clients write in one language: words of a lexicon that the seed invents, in
sentences of the same few forms. What differs is how often a client uses which
word, form and mark at the end of a sentence, and how much it has written. So a
model of one client's next characters helps with another's, and is not as good
as that client's own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fps_jax.data.dataset import Dataset

ALPHABET = ' abcdefghijklmnopqrstuvwxyz.,!?'
_CODES = {character: code for code, character in enumerate(ALPHABET)}
_ONSETS = (*'bdfgklmnprstvz', 'br', 'kl', 'st', 'tr', 'sh')
_VOWELS = ('a', 'e', 'i', 'o', 'u', 'ou', 'ai')
_CODAS = ('', '', '', 'n', 'r', 's', 'l')
# Of each kind of word, how many there are: nouns, verbs, adjectives, adverbs.
_LEXICON = {'N': 60, 'V': 40, 'A': 30, 'D': 15}
_FORMS = (
  'the N V the N',
  'the A N V D',
  'a N and a N V',
  'D the N V, and the N V',
  'if the N V, the A N V the N',
  'N of the A N V to the N',
)
_ENDS = ('.', '!', '?')
# Of the Dirichlet law by which clients like words, forms and ends.
_ALPHA = 0.3
# exp(sigma z) times the median is how much a client has written.
_MEDIAN, _SIGMA = 40, 0.5
_TEST_PART = 0.25


class _Style(NamedTuple):
  """How often a client uses each word of a kind, each form and each end."""

  words: dict[str, np.ndarray]
  forms: np.ndarray
  ends: np.ndarray


def make_text(
  num_clients: int = 50, length: int = 40, seed: int = 0
) -> Dataset:
  """Makes sequences of characters, of which each is to be told the next.

  >>> dataset = make_text(num_clients=3)
  >>> print(to_text(dataset.train_inputs[0]))
  the shebre gurtrul vourlarkar sunklirvai
  >>> dataset.num_classes, dataset.train_targets.shape[1]
  (31, 40)

  Args:
    num_clients: who write, at least 1; numbered from 0.
    length: characters of an example, at least 2.
    seed: of `np.random.default_rng`, >= 0; equal arguments give equal data.

  Returns:
    A data set named 'text': int32 codes [n, length], see `ALPHABET`, the same
    moved on by one character as targets, and whose each of them is. A quarter
    of the examples of each client, at least one, is for testing: the last that
    it wrote.

  Raises:
    ValueError: if a number is below its bound.
  """
  for what, value, least in (
    ('num_clients', num_clients, 1),
    ('length', length, 2),
  ):
    if value < least:
      raise ValueError(f'{what}={value} is below {least}: raise it')
  rng = np.random.default_rng(seed)
  lexicon = {kind: _invent(count, rng) for kind, count in _LEXICON.items()}
  splits: dict[str, list[np.ndarray]] = {'train': [], 'test': []}
  for _ in range(num_clients):
    number = max(4, round(_MEDIAN * np.exp(_SIGMA * rng.normal())))
    written = _write(number * length + 1, lexicon, _draw_style(rng), rng)
    # Examples overlap by the character that one has to tell and the next knows.
    starts = np.arange(number)[:, np.newaxis] * length
    examples = written[starts + np.arange(length + 1)]
    num_train = number - max(1, int(_TEST_PART * number))
    splits['train'].append(examples[:num_train])
    splits['test'].append(examples[num_train:])
  arrays = {}
  for split, parts in splits.items():
    examples = np.concatenate(parts)
    arrays[f'{split}_inputs'] = examples[:, :-1]
    arrays[f'{split}_targets'] = examples[:, 1:]
    arrays[f'{split}_clients'] = np.repeat(
      np.arange(num_clients), [len(part) for part in parts]
    )
  return Dataset(name='text', num_classes=len(ALPHABET), **arrays)


def to_text(codes: Sequence[int] | np.ndarray) -> str:
  """Returns what codes [length] stand for."""
  return ''.join(ALPHABET[code] for code in codes)


def _invent(count: int, rng: np.random.Generator) -> list[str]:
  """Returns words of one to three syllables, no two alike."""
  words: dict[str, None] = {}
  while len(words) < count:
    syllables = [
      ''.join(str(rng.choice(part)) for part in (_ONSETS, _VOWELS, _CODAS))
      for _ in range(rng.integers(1, 4))
    ]
    words[''.join(syllables)] = None
  return list(words)


def _draw_style(rng: np.random.Generator) -> _Style:
  def like(count: int) -> np.ndarray:
    return rng.dirichlet(np.full(count, _ALPHA))

  words = {kind: like(count) for kind, count in _LEXICON.items()}
  return _Style(words, like(len(_FORMS)), like(len(_ENDS)))


def _write(
  length: int,
  lexicon: dict[str, list[str]],
  style: _Style,
  rng: np.random.Generator,
) -> np.ndarray:
  """Returns the codes of as many characters of a client."""
  text = ''
  while len(text) < length:
    form = rng.choice(_FORMS, p=style.forms)
    text += ''.join(
      str(rng.choice(lexicon[part], p=style.words[part]))
      if part in lexicon
      else part
      for part in form
    )
    text += str(rng.choice(_ENDS, p=style.ends)) + ' '
  return np.array([_CODES[character] for character in text[:length]], np.int32)
