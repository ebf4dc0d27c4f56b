"""Tests of `fps_jax.sharing.chacha` against RFC 8439 and Python's integers."""

import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from fps_jax.sharing import chacha, on_host, reference

COUNTING_KEY = bytes(range(32))

# Key, nonce, counter and keystream of RFC 8439.
RFC_STREAMS = {
  '2.3.2': (
    COUNTING_KEY,
    '00000009 0000004a 00000000',
    1,
    '10f1e7e4d13b5915500fdd1fa32071c4 c7d1f4c733c068030422aa9ac3d46c4e'
    'd2826446079faa0914c2d705d98b02a2 b5129cd1de164eb9cbd083e8a2503c4e',
  ),
  '2.4.2': (
    COUNTING_KEY,
    '00000000 0000004a 00000000',
    1,
    '224f51f3401bd9e12fde276fb8631ded 8c131f823d2c06e27e4fcaec9ef3cf78'
    '8a3b0aa372600a92b57974cded2b9334 794cba40c63e34cdea212c4cf07d41b7'
    '69a6749f3f630f4122cafe28ec4dc47e 26d4346d70b98c73f3e9c53ac40c5945'
    '398b6eda1a832c89c167eacd901d7e2b f363',
  ),
  'A.1 #1': (
    bytes(32),
    '00000000 00000000 00000000',
    0,
    '76b8e0ada0f13d90405d6ae55386bd28 bdd219b8a08ded1aa836efcc8b770dc7'
    'da41597c5157488d7724e03fb8d84a37 6a43b8f41518a11cc387b669b2ee6586',
  ),
  'A.1 #2': (
    bytes(32),
    '00000000 00000000 00000000',
    1,
    '9f07e7be5551387a98ba977c732d080d cb0f29a048e3656912c6533e32ee7aed'
    '29b721769ce64e43d57133b074d839d5 31ed1f28510afb45ace10a1f4b794d6f',
  ),
  'A.1 #3': (
    bytes(31) + b'\x01',
    '00000000 00000000 00000000',
    1,
    '3aeb5224ecf849929b9d828db1ced4dd 832025e8018b8160b82284f3c949aa5a'
    '8eca00bbb4a73bdad192b5c42f73f2fd 4e273644c8b36125a64addeb006c13a0',
  ),
  'A.1 #4': (
    b'\x00\xff' + bytes(30),
    '00000000 00000000 00000000',
    2,
    '72d54dfbf12ec44b362692df94137f32 8fea8da73990265ec1bbbea1ae9af0ca'
    '13b25aa26cb4a648cb9b9d1be65b2c09 24a66c54d545ec1b7374f4872e99f096',
  ),
  'A.1 #5': (
    bytes(32),
    '00000000 00000000 00000002',
    0,
    'c2c64d378cd536374ae204b9ef933fcd 1a8b2288b3dfa49672ab765b54ee27c7'
    '8a970e0e955c14f3a88e741b97c286f7 5f8fc299e8148362fa198a39531bed6d',
  ),
}
RFC = pytest.mark.parametrize('name', RFC_STREAMS)


def rfc_stream(name: str) -> tuple[bytes, bytes, int, bytes]:
  key, nonce, counter, stream = RFC_STREAMS[name]
  return key, bytes.fromhex(nonce), counter, bytes.fromhex(stream)


def as_words(text: bytes) -> np.ndarray:
  return np.frombuffer(text, '<u4').astype(np.uint32)


def as_bytes(words: np.ndarray) -> bytes:
  return np.asarray(words).astype('<u4').tobytes()


# With the first block traced, as callers have it.
keystream = jax.jit(chacha.keystream, static_argnames='num_blocks')


def random_words(*shape: int) -> np.ndarray:
  rng = np.random.default_rng(shape)
  return rng.integers(2**32, size=shape, dtype=np.uint32)


def expected_words(
  keys: np.ndarray, nonces: np.ndarray, first_block: int, num_blocks: int
) -> np.ndarray:
  """Returns the words of `keystream`, from the reference."""
  rows = [
    reference.keystream_words(
      as_bytes(key), as_bytes(nonce), first_block, num_blocks
    )
    for key, nonce in zip(
      keys.reshape(-1, 8), nonces.reshape(-1, 3), strict=True
    )
  ]
  return np.array(rows, np.uint32).reshape(*keys.shape[:-1], -1)


def test_quarter_round_of_the_rfc() -> None:
  # Section 2.1.1.
  before = (0x11111111, 0x01020304, 0x9B8D6F43, 0x01234567)
  after = (0xEA2A92F4, 0xCB1CF8CE, 0x4581472E, 0x5881C4BB)
  assert reference.quarter_round(*before) == after
  mixed = chacha._quarter_round(*(jnp.uint32(word) for word in before))
  assert tuple(word.item() for word in mixed) == after


@RFC
def test_rfc_stream_is_that_of_openssl_and_of_the_reference(name: str) -> None:
  # Called by hand: neither is the code under test, so no typo passes here.
  key, nonce, counter, stream = rfc_stream(name)
  algorithm = algorithms.ChaCha20(key, struct.pack('<I', counter) + nonce)
  encryptor = Cipher(algorithm, mode=None).encryptor()
  assert encryptor.update(bytes(len(stream))) == stream
  num_blocks = -(-len(stream) // 64)
  words = reference.keystream_words(key, nonce, counter, num_blocks)
  assert struct.pack(f'<{len(words)}I', *words)[: len(stream)] == stream


@RFC
def test_keystream_is_that_of_the_rfc(name: str) -> None:
  key, nonce, counter, stream = rfc_stream(name)
  words = keystream(as_words(key), as_words(nonce), counter, num_blocks=2)
  assert words.dtype == jnp.uint32
  assert words.shape == (32,)
  assert as_bytes(words)[: len(stream)] == stream


@pytest.mark.parametrize('first_block', [0, 1, 2**31 - 1, 2**32 - 4, 2**32 - 3])
def test_keystream_is_the_reference(first_block: int) -> None:
  keys, nonces = random_words(2, 3, 8), random_words(2, 3, 3)
  keys[0, 0], nonces[0, 0] = 2**32 - 1, 2**32 - 1
  expected = expected_words(keys, nonces, first_block, num_blocks=3)
  words = keystream(keys, nonces, np.uint32(first_block), num_blocks=3)
  assert words.shape == (2, 3, 48)
  np.testing.assert_array_equal(words, expected)


@pytest.mark.slow
def test_words_are_the_same_eager_jit_and_vmap() -> None:
  keys, nonces = random_words(4, 2, 8), random_words(4, 2, 3)
  firsts = np.uint32([0, 7, 2**31, 2**32 - 2])
  expected = np.stack([
    expected_words(*row, num_blocks=2)
    for row in zip(keys, nonces, firsts.tolist(), strict=True)
  ])  # fmt: skip

  def draw(keys, nonces, first_block):
    return chacha.keystream(keys, nonces, first_block, 2)

  for one in (draw, jax.jit(draw)):
    rows = [
      one(jnp.asarray(key), jnp.asarray(nonce), first)
      for key, nonce, first in zip(keys, nonces, firsts, strict=True)
    ]
    np.testing.assert_array_equal(np.stack(rows), expected)
  every = jax.jit(jax.vmap(draw))
  np.testing.assert_array_equal(every(keys, nonces, firsts), expected)
  # Where only one argument has the axis, the others are repeated.
  of_one = jax.jit(jax.vmap(draw, (None, None, 0)))
  repeated = of_one(keys[0], nonces[0], firsts)
  np.testing.assert_array_equal(repeated[0], expected[0])
  assert len(np.unique(repeated, axis=0)) == 4


def test_the_state_is_added_to_the_words_at_once() -> None:
  key, nonce = np.zeros((2, 8), np.uint32), np.zeros((2, 3), np.uint32)
  program = jax.make_jaxpr(
    lambda first: chacha.keystream(key, nonce, first, 4)
  )(np.uint32(0))
  # The counter, and all words.
  names = [equation.primitive.name for equation in program.eqns]
  assert names.count('add') == 2


def test_any_block_is_read_without_those_before_it() -> None:
  key, nonce = random_words(8), random_words(3)
  stream = keystream(key, nonce, 0, num_blocks=20)
  assert len(np.unique(stream)) == 320
  for first in (0, 1, 7, 18):
    part = keystream(key, nonce, first, num_blocks=2)
    np.testing.assert_array_equal(part, stream[16 * first : 16 * (first + 2)])


def test_nothing_is_drawn_for_no_key_and_no_block() -> None:
  of_no_key = keystream(random_words(0, 8), random_words(0, 3), 0, 2)
  assert of_no_key.shape == (0, 32)
  of_no_block = keystream(random_words(2, 8), random_words(2, 3), 0, 0)
  assert of_no_block.shape == (2, 0)


@pytest.mark.parametrize('shape', [(), (0,), (5,), (2, 3)])
def test_blocks_on_the_host_are_those_of_openssl(shape: tuple[int]) -> None:
  state = random_words(*shape, 12)
  blocks = chacha.blocks_on_host(state)
  assert blocks.dtype == np.uint32
  np.testing.assert_array_equal(blocks, on_host.keystream(state, 16))


def test_openssl_on_the_host_is_the_reference() -> None:
  state = random_words(3, 12)
  words = on_host.keystream(state, 32)
  assert words.dtype == np.uint32
  for row, drawn in zip(state, words, strict=True):
    expected = expected_words(row[:8], row[9:], int(row[8]), 2)
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize(
  ('first_block', 'num_blocks'), [(2**32 - 2, 3), (0, 2**32 + 1), (2**32, 1)]
)
def test_end_of_the_counter_raises(first_block: int, num_blocks: int) -> None:
  expected = (
    rf'{num_blocks} blocks from block {first_block} pass 2\*\*32, where the '
    'counter ends: use another nonce'
  )
  with pytest.raises(ValueError, match=expected):
    chacha.keystream(random_words(8), random_words(3), first_block, num_blocks)
