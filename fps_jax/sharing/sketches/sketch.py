"""Short linear sketches of long vectors, of field words or of floats.

A sketch is linear, so that servers sketch the shares that they hold, and what
opens is the sketch of the secret: nobody sends anything for it, and no more of
a vector than its sketch is opened. Inner products of sketches estimate those of
the vectors (M. Charikar, K. Chen, M. Farach-Colton, Finding frequent items in
data streams, ICALP 2002).

Every column gets a random sign and falls into one of the buckets, in which
signed columns are added up. Buckets are dealt out a block of consecutive
columns at a time, each bucket once, in an order that is turned by a random
number of places. Two columns of one block never meet, two of different blocks
do with a chance of one in `num_buckets`: no more often than if buckets were
drawn one by one.

Example: a vector of 4 columns in 2 buckets keeps the sum of its squares, here
exactly since the two that are not 0 do not meet.
  >>> sketch = Sketch(num_buckets=2)
  >>> key = jax.random.key(0)
  >>> row = jnp.array([[3.0, 4.0, 0.0, 0.0]])
  >>> float(jnp.sum(sketch.apply(row, key, 0) ** 2))
  25.0
"""

import dataclasses

import jax
import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array, Key
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.floats import Floats


@dataclasses.dataclass(frozen=True)
class Sketch:
  """Count sketches of columns.

  Guarantees, for two vectors x and y that are fixed before the key is drawn:
    - sketches are linear: that of a sum is the sum of the sketches, and those
      of shares open to that of the secret;
    - the inner product of two sketches has the mean <x, y> and a variance of at
      most 2 |x|^2 |y|^2 / num_buckets;
    - so has the sum of inner products over rows with the same draws, as packed
      secrets are: x and y are then all rows together. A sketch of m numbers in
      l rows has m / l buckets, so that the standard deviation of a squared
      norm is at most a fraction sqrt(2 l / m) of it.

  Attributes:
    num_buckets: columns of a sketch, at least 1.
    field: of the words that are sketched; None for floats.

  Raises:
    ValueError: if there is no bucket.
  """

  num_buckets: int
  field: PrimeField | None = None

  def __post_init__(self):
    arrays.check_integer('num_buckets', self.num_buckets)
    if self.num_buckets < 1:
      raise ValueError(f'num_buckets={self.num_buckets} must be at least 1')

  @property
  def _words(self) -> PrimeField | Floats:
    return self.field or Floats()

  def apply(self, columns: Array, key: Key, number: Array | int) -> Array:
    """Sketches one piece of a vector; the sketch of all is the sum of pieces'.

    Args:
      columns: uint32 elements or float32 [..., W], the same draws for all
        leading axes.
      key: of the sketch, the same for every piece of every vector.
      number: the piece's number. May be traced.

    Returns:
      [..., num_buckets], of the same type.

    Raises:
      ValueError: if the columns are of another type, or `number` is negative.
    """
    self._words.check('columns', columns, (..., 'W'))
    arrays.check_integer('number', number, 0)
    width = columns.shape[-1]
    num_blocks = -(-width // self.num_buckets)
    turn_key, sign_key = jax.random.split(jax.random.fold_in(key, number))
    turns_B = jax.random.randint(turn_key, (num_blocks,), 0, self.num_buckets)
    is_negative_W = jax.random.bernoulli(sign_key, shape=(width,))
    signed = jnp.where(is_negative_W, self._words.negate(columns), columns)
    missing = num_blocks * self.num_buckets - width
    padding = [(0, 0)] * (columns.ndim - 1) + [(0, missing)]
    blocks = jnp.pad(signed, padding)
    blocks = blocks.reshape(*columns.shape[:-1], num_blocks, self.num_buckets)
    turned_BxK = (jnp.arange(self.num_buckets) + turns_B[:, None]) % (
      self.num_buckets
    )
    turned = jnp.take_along_axis(
      blocks,
      turned_BxK.reshape((1,) * (columns.ndim - 1) + turned_BxK.shape),
      axis=-1,
    )
    return self._words.sum(jnp.moveaxis(turned, -2, 0))

  def add(self, a: Array, b: Array) -> Array:
    """Returns the sketch of a sum, or of two pieces."""
    self._words.check('a', a)
    self._words.check('b', b)
    return self._words.add(a, b)
