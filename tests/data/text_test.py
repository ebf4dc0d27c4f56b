"""Tests of `fps_jax.data.text`: one language, and a style for each client."""

import numpy as np
import pytest

from fps_jax.data import make_text
from fps_jax.data.text import ALPHABET, to_text


@pytest.fixture(scope='module')
def text():
  return make_text(num_clients=12)


def split_words(codes) -> set[str]:
  # The first and the last may be cut.
  words = ' '.join(' '.join(to_text(row).split()[1:-1]) for row in codes)
  return {word.strip('.,!?') for word in words.split()}


@pytest.mark.parametrize('split', ['train', 'test'])
def test_targets_are_the_next_characters(text, split):
  inputs, targets = (
    getattr(text, f'{split}_{kind}') for kind in ('inputs', 'targets')
  )
  np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
  clients = getattr(text, f'{split}_clients')
  follows = np.flatnonzero(clients[1:] == clients[:-1])
  # Examples of a client follow each other in what it wrote.
  np.testing.assert_array_equal(inputs[follows + 1, 0], targets[follows, -1])


def test_every_client_has_a_quarter_of_its_text_for_testing(text):
  train, test = (
    np.bincount(clients) for clients in (text.train_clients, text.test_clients)
  )
  assert len(train) == len(test) == 12
  np.testing.assert_array_equal(test, (train + test) // 4)
  assert np.ptp(train) > 10


def test_clients_write_the_same_words_with_other_frequencies(text):
  def of_client(client):
    return text.train_inputs[text.train_clients == client]

  known = split_words(text.train_inputs)
  tested = split_words(text.test_inputs)
  assert len(tested & known) > 0.9 * len(tested)
  bare = [len(split_words(of_client(client))) for client in range(12)]
  assert max(bare) < 0.6 * len(known)


def test_equal_arguments_give_equal_text_and_seeds_differ(text):
  again, other = make_text(num_clients=12), make_text(num_clients=12, seed=1)
  np.testing.assert_array_equal(again.train_inputs, text.train_inputs)
  assert to_text(other.train_inputs[0]) != to_text(text.train_inputs[0])


def test_length_is_that_of_every_example():
  dataset = make_text(num_clients=2, length=7)
  assert dataset.input_shape == (7,)
  assert dataset.num_classes == len(ALPHABET)


@pytest.mark.parametrize('given', [{'num_clients': 0}, {'length': 1}])
def test_number_below_its_bound_raises(given):
  with pytest.raises(ValueError, match='is below'):
    make_text(**given)
