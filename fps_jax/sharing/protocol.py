"""How the sum over clients is formed: in the clear, ideally, or from shares.

A protocol is a NamedTuple of pure functions (as in optax), written for one
client and one tile of M values; who calls them for thousands of clients is
`fps_jax.federated.parallel`. Everything after `lift` is exact in the schemes
that use a codec, so neither the order of clients nor their grouping matters.

| scheme   | what is added up                      | who learns what         |
|----------|---------------------------------------|-------------------------|
| `none`   | float32 values                        | central: every update   |
| `ideal`  | field words, without any sharing      | (a trusted third party) |
| `shamir` | shares of field words, at each server | central: only the sum,  |
|          |                                       | or every update with    |
|          |                                       | `reveal='updates'`      |
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.sharing.codec import Codec
from fps_jax.sharing.shamir import Opening, Shamir
from fps_jax.types import Array, Key

SCHEMES = ('none', 'ideal', 'shamir')
REVEALS = ('sum', 'updates')


class SumProtocol(NamedTuple):
  """The steps of a sum over clients. `R` is the rows that are held (servers).

  A vector holds weighted values and, in one entry, the client's sample count,
  so that nobody learns a single client's count either.

  Guarantees:
    - what `open` and `decode` make of `add`ed, `lift`ed values is their sum,
      to the codec's rounding where there is a codec; sums of counts are exact
      up to 2^24;
    - a client whose `alive` is False does not influence the sum.

  Attributes:
    zeros: int M -> [R, M], an empty sum.
    lift: (values float32 [M], is_count bool [M], count int32 [], key) ->
      contribution of one client [..., M]; where `is_count` is True it carries
      `count` for the value; the key is consumed.
    add: (sums [R, M], contributions [C, ...], alive bool [C], opening) ->
      [R, M].
    open: (sums [R, M], opening) -> [M], the sum, still encoded.
    decode: opened [M] -> float32 [M], values.
    decode_count: opened -> float32, counts.
    count_clipped: values float32 -> float32 [], values beyond the clip.
    opening: from which servers the sums are opened, a pytree of arrays; None
      where there are no servers.
  """

  zeros: Callable[[int], Array]
  lift: Callable[[Array, Array, Array, Key], Array]
  add: Callable[[Array, Array, Array, Opening | None], Array]
  open: Callable[[Array, Opening | None], Array]
  decode: Callable[[Array], Array]
  decode_count: Callable[[Array], Array]
  count_clipped: Callable[[Array], Array]
  opening: Opening | None = None


def plain_sum() -> SumProtocol:
  """Returns the scheme `none`: float32 values added as they are.

  Unlike sums in the field, this one depends on the order of its terms, in the
  last bits.
  """

  def lift(values, is_count, count, key):
    del key  # Nothing is drawn.
    return jnp.where(is_count, count.astype(jnp.float32), values)[None]

  def add(sums, contributions, alive, opening):
    live = jnp.where(alive[:, None, None], contributions, 0.0)
    return sums + jnp.sum(live, axis=0)

  return SumProtocol(
    zeros=lambda size: jnp.zeros((1, size), jnp.float32),
    lift=lift,
    add=add,
    open=lambda sums, opening: sums[0],
    decode=lambda opened: opened,
    decode_count=lambda opened: opened,
    count_clipped=lambda values: jnp.zeros((), jnp.float32),
  )


def ideal_sum(codec: Codec) -> SumProtocol:
  """Returns the scheme `ideal`: the same words as `shamir`, never shared.

  It is the functionality that the protocol realises, for fast studies: the
  opened sums equal those of `shamir` bit for bit.
  """

  def lift(values, is_count, count, key):
    rounding_key, _ = jax.random.split(key)
    return _encode(codec, values, is_count, count, rounding_key)[None]

  def add(sums, contributions, alive, opening):
    words = jnp.where(alive[:, None, None], contributions, jnp.uint32(0))
    return codec.field.add(sums, codec.field.sum(words))

  return SumProtocol(
    zeros=lambda size: jnp.zeros((1, size), jnp.uint32),
    lift=lift,
    add=add,
    open=lambda sums, opening: sums[0],
    decode=codec.decode,
    decode_count=codec.decode_count,
    count_clipped=codec.count_clipped,
  )


def shamir_sum(
  codec: Codec, scheme: Shamir, present: Sequence[int], reveal: str = 'sum'
) -> SumProtocol:
  """Returns the scheme `shamir`: servers add shares, the central one opens.

  Args:
    codec: floats to field words.
    scheme: k-of-N sharing over the codec's field.
    present: numbers of the servers that answer when the sum is opened.
    reveal: `'sum'`: each server adds the shares it holds and the central
      server opens only the sum. `'updates'`: the central server opens every
      client's words and adds them itself, as the published text has it.

  Raises:
    ValueError: if fewer than k servers are present, the fields differ or
      `reveal` is unknown.
  """
  if reveal not in REVEALS:
    raise ValueError(f'reveal={reveal!r} is not one of {REVEALS}')
  if codec.field != scheme.field:
    raise ValueError(
      f'the codec uses the prime {codec.field.modulus}, the sharing scheme '
      f'{scheme.field.modulus}: build both with one field'
    )
  ideal = ideal_sum(codec)
  opens_updates = reveal == 'updates'

  def lift(values, is_count, count, key):
    rounding_key, sharing_key = jax.random.split(key)
    words = _encode(codec, values, is_count, count, rounding_key)
    return scheme.share(words, sharing_key)

  def add(sums, shares_CxNxM, alive, opening):
    if opens_updates:
      open_one = jax.vmap(scheme.open_shares, (0, None))
      words_CxM = open_one(shares_CxNxM, opening)
      return ideal.add(sums, words_CxM[:, None], alive, opening)
    return ideal.add(sums, shares_CxNxM, alive, opening)

  def open_sums(sums, opening):
    return sums[0] if opens_updates else scheme.open_shares(sums, opening)

  num_rows = 1 if opens_updates else scheme.num_servers
  return ideal._replace(
    zeros=lambda size: jnp.zeros((num_rows, size), jnp.uint32),
    lift=lift,
    add=add,
    open=open_sums,
    opening=scheme.opening(present),
  )


def _encode(
  codec: Codec, values: Array, is_count: Array, count: Array, key: Key
) -> Array:
  """Returns a client's words: its values and, where told, its count."""
  words = codec.encode(values, key)
  return jnp.where(is_count, codec.encode_count(count), words)
