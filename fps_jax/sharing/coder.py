"""What a sum needs of what makes words of values, and values of their sum."""

from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.floats import Floats

# What a codec draws on for one client's values: a key of JAX's, or several.
ClientKey = Any


class Coder(Protocol):
  """A codec, or what stands in for one."""

  @property
  def field(self) -> PrimeField | None:
    """What words are of; None where values are added as they are."""

  @property
  def levels(self) -> int:
    """What an honest client's value stands for at most; 0 without a field."""

  @property
  def adder(self) -> PrimeField | Floats:
    """What adds words up."""

  def encode(
    self,
    values: Array,
    key: ClientKey,
    first: Array | int = 0,
    breaks_range: Array | bool = False,
  ) -> Array:
    """Returns what values are carried by.

    Arguments are those of `Codec.encode`; a codec says what it takes for a key.
    """

  def encode_count(self, count: Array) -> Array:
    """Returns what a sample count is carried by."""

  def decode(self, words: Array) -> Array:
    """Returns values, float32."""

  def decode_count(self, words: Array) -> Array:
    """Returns sample counts, float32."""

  def count_clipped(self, values: Array) -> Array:
    """Returns how many values are beyond what is represented, int32 []."""


class OfField:
  """What codecs whose words are of a field have in common: counts, and sums.

  Attributes:
    field: the field that sums are formed in.
    max_count: largest sample count of one client, at least 1.
  """

  field: PrimeField
  max_count: int

  @property
  def adder(self) -> PrimeField:
    """What adds words up."""
    return self.field

  def encode_count(self, count: Array) -> Array:
    """Encodes sample counts, int32 in [0, max_count], as field elements."""
    arrays.check('count', count, np.int32)
    arrays.check_range('count', count, 0, self.max_count, 'raise max_count')
    return count.astype(jnp.uint32)

  def decode_count(self, words: Array) -> Array:
    """Decodes a sum of sample counts; uint32 elements to float32."""
    self.field.check('words', words)
    return words.astype(jnp.float32)
