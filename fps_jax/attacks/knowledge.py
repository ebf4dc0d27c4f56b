"""What malicious clients know of a round, and statistics of it.

They work together and are omniscient: they know what every present client
trained, which clients are malicious, and the defence: its rule, the update of
the central server that it compares with, and, only where a config says so, the
seed of its sketches.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core import arrays
from fps_jax.core.types import Array, Key


class KnownSeed(NamedTuple):
  """What malicious clients make of a sketch's seed, if it is drawn too early.

  Attributes:
    sketch: float32 [C, M] -> [C, K], the sketches of updates as servers have
      them, but for rounding.
    unseen: float32 [M] -> [M], the part of a vector that changes nothing of
      what is opened: no sum of a sketch or of a range check, and no product
      with the central server's own update.
  """

  sketch: Callable[[Array], Array]
  unseen: Callable[[Array], Array]


class KnownDefence(NamedTuple):
  """What malicious clients know of a defence.

  It is given by functions, which may be differentiated.

  Attributes:
    weigh: (inner products float32 [C, C], or [C + 1, C + 1] with the central
      server's own update last, present bool [C], key) -> weights float32 [C];
      None where the rule does not weigh.
    aggregate: (updates float32 [C, M], present bool [C]) -> float32 [M]; None
      where the rule weighs.
    root_M: float32 [M], the central server's own update; None without one.
    deviation: standard deviation of a squared distance as the defence sees it,
      a fraction of it; 0 where it sees updates.
    seed: what follows from the seed of sketches; None where it is not known.
  """

  weigh: Callable[[Array, Array, Key], Array] | None = None
  aggregate: Callable[[Array, Array], Array] | None = None
  root_M: Array | None = None
  deviation: float = 0.0
  seed: KnownSeed | None = None


class Knowledge(NamedTuple):
  """What malicious clients know.

  Attributes:
    updates_CxM: float32 [C, M], what clients trained; rows that are not present
      mean nothing, and may hold NaN.
    honest_C: bool [C], the present honest clients; if there are none, the
      present malicious ones, whose training was honest.
    malicious_C: bool [C], the present malicious clients.
    num_present: int32 [], present clients, malicious ones included.
    num_malicious: int32 [], present malicious clients.
    num_values: int32 [], entries of a row that are sent; those beyond are 0.
    defence: what they know of the defence; nothing, if there is none.
  """

  updates_CxM: Array
  honest_C: Array
  malicious_C: Array
  num_present: Array
  num_malicious: Array
  num_values: Array
  defence: KnownDefence = KnownDefence()


# What malicious clients send instead: float32 [C, M], of which only their rows
# are read, or float32 [M], the same for all.
Craft = Callable[[Knowledge, Key], Array]


def know(
  updates_CxM: Array,
  malicious_C: Array,
  present_C: Array,
  num_values: Array | int | None = None,
  defence: KnownDefence | None = None,
) -> Knowledge:
  """Returns what malicious clients know.

  Args:
    updates_CxM: float32 [C, M].
    malicious_C: bool [C].
    present_C: bool [C].
    num_values: int32 [], entries of a row that are sent; may be traced. None
      for all M.
    defence: what they know of it; None without one.

  Raises:
    ValueError: if an argument is of another type or shape, or out of range.
  """
  arrays.check('updates_CxM', updates_CxM, jnp.float32, ('C', 'M'))
  shape = updates_CxM.shape[:1]
  arrays.check('malicious_C', malicious_C, bool, shape)
  arrays.check('present_C', present_C, bool, shape)
  if num_values is not None:
    arrays.check_integer('num_values', num_values, 0, updates_CxM.shape[1])
  honest_C = present_C & ~malicious_C
  return Knowledge(
    updates_CxM=updates_CxM,
    honest_C=jnp.where(jnp.any(honest_C), honest_C, present_C),
    malicious_C=present_C & malicious_C,
    num_present=jnp.sum(present_C),
    num_malicious=jnp.sum(present_C & malicious_C),
    num_values=jnp.int32(
      updates_CxM.shape[1] if num_values is None else num_values
    ),
    defence=KnownDefence() if defence is None else defence,
  )


def num_honest(known: Knowledge) -> Array:
  """Returns how many updates count as honest: int32 [], at least 1."""
  return jnp.maximum(jnp.sum(known.honest_C), 1)


def honest_updates(known: Knowledge) -> Array:
  """Returns float32 [C, M], the honest updates; 0 in all other rows."""
  return jnp.where(known.honest_C[:, None], known.updates_CxM, 0.0)


def malicious_mean(known: Knowledge) -> Array:
  """Returns float32 [M], the mean of what the malicious clients trained."""
  own_CxM = jnp.where(known.malicious_C[:, None], known.updates_CxM, 0.0)
  weights_C = known.malicious_C.astype(jnp.float32)
  return products(weights_C, own_CxM) / jnp.maximum(known.num_malicious, 1)


def mean(known: Knowledge) -> Array:
  """Returns float32 [M], the mean of the honest updates, all weighed alike."""
  return _sum_honest(known, honest_updates(known)) / num_honest(known)


def centred(known: Knowledge) -> Array:
  """Returns float32 [C, M], honest updates minus their mean; 0 elsewhere."""
  return jnp.where(
    known.honest_C[:, None], known.updates_CxM - mean(known), 0.0
  )


def standard_deviation(known: Knowledge) -> Array:
  """Returns float32 [M], of each entry over the honest updates.

  Squares are divided by their number, not by one less.
  """
  squares_CxM = jnp.square(centred(known))
  return jnp.sqrt(_sum_honest(known, squares_CxM) / num_honest(known))


def mean_square(known: Knowledge) -> Array:
  """Returns float32 [], of honest updates' distances to their mean."""
  squares_C = jnp.sum(jnp.square(centred(known)), axis=1)
  return jnp.sum(squares_C) / num_honest(known)


def unit(vector_M: Array) -> Array:
  """Returns float32 [M], a vector of length 1 in its direction; 0 of 0."""
  length = jnp.linalg.norm(vector_M)
  return vector_M / jnp.where(length > 0, length, 1.0)


def _sum_honest(known: Knowledge, rows_CxM: Array) -> Array:
  """Sums the honest rows; a product, as XLA reduces a first axis slowly."""
  return products(known.honest_C.astype(jnp.float32), rows_CxM)


def products(rows_CxM: Array, others: Array) -> Array:
  """Returns the products of rows with float32 [M] or [M, n], in full float32.

  Accelerators would round the factors by default, and distances are differences
  of such products.

  Raises:
    ValueError: if they are not float32, or of shapes that do not fit.
  """
  arrays.check('rows_CxM', rows_CxM, jnp.float32, (..., 'M'))
  arrays.check('others', others, jnp.float32, (rows_CxM.shape[-1], ...))
  return jnp.matmul(rows_CxM, others, precision=jax.lax.Precision.HIGHEST)
