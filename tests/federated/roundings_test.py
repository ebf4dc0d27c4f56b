"""Tests of `federated.roundings`: each client's first that holds the bound."""

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.federated.roundings import choose_roundings
from fps_jax.privacy import rounding
from fps_jax.privacy.mechanism import make_mechanism
from fps_jax.privacy.noisy_codec import Draws, NoisyCodec
from fps_jax.privacy.wrapping import Words
from fps_jax.sharing.field import PrimeField

TILE, SIZE = 16, 64
FIELD = PrimeField(2**16 - 15)
WORDS = Words(8, 1, dimension=SIZE, rounds=1, prime=FIELD.modulus)
CODEC = NoisyCodec(FIELD, make_mechanism(1.0, 8, WORDS, 2**-40))
KEYS_C = jax.random.split(jax.random.key(1), 20)


def vectors() -> np.ndarray:
  """Returns vectors a step longer than the clip, but for one that is more.

  So some are redrawn: of those as long as the clip hardly any would be.
  """
  values = np.random.default_rng(0).normal(size=(20, SIZE))
  values /= np.linalg.norm(values, axis=1, keepdims=True)
  values *= 1 + 1 / CODEC.levels
  values[5] *= 1.2
  return values.astype(np.float32)


@jax.jit
def choose(values_CxM, keys_C) -> Draws:
  noise_Cx8 = jnp.zeros((len(values_CxM), 8), jnp.uint32)

  def read_tile(tile):
    first = tile * TILE
    return jax.lax.dynamic_slice_in_dim(values_CxM, first, TILE, 1), first

  return choose_roundings(CODEC, noise_Cx8, keys_C, read_tile, SIZE // TILE)


def test_first_rounding_that_holds_the_bound_is_chosen_by_each():
  """Against a loop over attempts, with Python's integers for norms."""
  chosen = choose(vectors(), KEYS_C)
  round_all = jax.jit(
    lambda attempt: jax.vmap(CODEC.round, (0, 0, None))(
      vectors(), KEYS_C, attempt
    )
  )
  rounded_AxCxM = np.array([round_all(a) for a in range(8)]).astype(object)
  squares_AxC = (rounded_AxCxM**2).sum(axis=2)
  holds_AxC = squares_AxC <= CODEC.mechanism.squared_norm
  for client in (*range(5), *range(6, 20)):
    assert holds_AxC[:, client].any()
    assert chosen.attempt[client] == np.argmax(holds_AxC[:, client])
    assert chosen.is_within[client]
  # Some must have been drawn again, or this shows little.
  assert np.max(np.delete(chosen.attempt, 5)) > 0


def test_vector_that_is_too_long_is_found_after_the_last_attempt():
  chosen = choose(vectors(), KEYS_C)
  assert chosen.is_within.tolist() == (np.arange(20) != 5).tolist()
  assert chosen.attempt[5] == rounding.MAX_ATTEMPTS - 1


def test_choice_does_not_depend_on_who_is_in_the_chunk():
  together = choose(vectors(), KEYS_C)
  for client in (2, 7):
    one = slice(client, client + 1)
    alone = choose(vectors()[one], KEYS_C[one])
    assert alone.attempt[0] == together.attempt[client]
