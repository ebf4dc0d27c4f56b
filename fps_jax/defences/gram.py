"""Geometry from inner products: a Gram matrix in place of the updates.

Distances among vectors, and between them and any weighted sum of them, follow
from their inner products alone. Rules that need no more never see an update.
"""

import jax.numpy as jnp
from jax.scipy.linalg import block_diag

from fps_jax.core import arrays
from fps_jax.core.types import Array

# Of a squared norm. Sums of distances up to here stay far below infinity.
MAX_SQUARED_NORM = 2.0**100


def check(
  gram_VxV: Array,
  present_C: Array,
  num_malicious: Array | int = 0,
  num_roots: int = 0,
) -> None:
  """Checks what a rule is given.

  Args:
    gram_VxV: float32 [V, V]; V = C + `num_roots`.
    present_C: bool [C].
    num_malicious: int32 [] or an int, at least 0.
    num_roots: rows after those of the clients.

  Raises:
    ValueError: if an argument is of another type or shape, or out of range.
  """
  check_present(present_C, num_malicious)
  num_vectors = present_C.shape[0] + num_roots
  arrays.check('gram_VxV', gram_VxV, jnp.float32, (num_vectors, num_vectors))


def check_present(present_C: Array, num_malicious: Array | int = 0) -> None:
  """Checks who is present, and how many are taken for malicious.

  Arguments and errors as of `check`.
  """
  arrays.check('present_C', present_C, bool, ('C',))
  arrays.check_integer('num_malicious', num_malicious, 0)


def leave_out(gram_VxV: Array, present_C: Array) -> tuple[Array, Array]:
  """Returns a Gram matrix without absent clients, and who is present in it.

  A client whose squared norm is above `MAX_SQUARED_NORM` (a norm of 2^50) or
  not a number is left out like an absent one: differences of such numbers would
  not be finite, and a comparison with them means nothing.

  Guarantee: the result is finite and symmetric to the bit, and rows and columns
  of whoever is left out are 0, whatever they held.

  Args:
    gram_VxV: float32 [V, V], inner products of C clients' updates, or of those
      and of a root update in the last row.
    present_C: bool [C].

  Returns:
    float32 [V, V] and bool [C].

  Raises:
    ValueError: as of `check`; V is C or C + 1.
  """
  arrays.check('present_C', present_C, bool, ('C',))
  num_clients = len(present_C)
  check(gram_VxV, present_C, num_roots=int(len(gram_VxV) > num_clients))
  usable_V = jnp.diagonal(gram_VxV) <= MAX_SQUARED_NORM
  present_C = present_C & usable_V[:num_clients]
  usable_V = usable_V.at[:num_clients].set(present_C)
  gram_VxV = jnp.where(usable_V[:, None] & usable_V, gram_VxV, 0.0)
  return _symmetric(gram_VxV), present_C


def squared_distances(gram_CxC: Array) -> Array:
  """Returns the squared distances among vectors, symmetric to the bit.

  Args:
    gram_CxC: float32 [C, C], as `leave_out` returns it.

  Returns:
    float32 [C, C], at least 0. The error is about 1e-7 of the squared norms.

  Raises:
    ValueError: if the matrix is of another type or shape.
  """
  arrays.check('gram_CxC', gram_CxC, jnp.float32, ('C', 'C'))
  squares_C = jnp.diagonal(gram_CxC)
  distances_CxC = (squares_C[:, None] + squares_C) - 2 * gram_CxC
  return jnp.maximum(distances_CxC, 0.0)


def distances_to_centre(gram_CxC: Array, weights_C: Array) -> Array:
  """Returns each vector's distance to the weighted sum of all.

  Args:
    gram_CxC: float32 [C, C], as `leave_out` returns it.
    weights_C: float32 [C]; all 0 for the distance to the zero vector.

  Returns:
    float32 [C], at least 0. Below about 1e-3 of the norms, a distance is lost
    in the rounding of the Gram matrix.

  Raises:
    ValueError: if an argument is of another type or shape.
  """
  arrays.check('gram_CxC', gram_CxC, jnp.float32, ('C', 'C'))
  arrays.check('weights_C', weights_C, jnp.float32, (len(gram_CxC),))
  products_C = gram_CxC @ weights_C
  squares_C = jnp.diagonal(gram_CxC) - 2 * products_C + weights_C @ products_C
  return roots(squares_C)


def roots(squares: Array) -> Array:
  """Returns square roots, whose derivative at 0 is 0.

  It would be infinite, and times 0 not a number. So rules can be differentiated
  where somebody is absent, as an attacker who knows them does.

  Args:
    squares: float32 [...]; what is below 0 counts as 0.

  Raises:
    ValueError: if they are of another type.
  """
  arrays.check('squares', squares, jnp.float32)
  is_above = squares > 0
  return jnp.where(is_above, jnp.sqrt(jnp.where(is_above, squares, 1.0)), 0.0)


def mix(gram_VxV: Array, mixing_CxC: Array) -> Array:
  """Returns the Gram matrix of weighted sums of the clients' updates.

  Args:
    gram_VxV: float32 [V, V], of C clients, or of those and of a root update in
      the last row, which stays as it is.
    mixing_CxC: float32 [C, C], the weights of each sum in a row.

  Returns:
    float32 [V, V], symmetric to the bit.

  Raises:
    ValueError: if an argument is of another type or shape.
  """
  arrays.check('gram_VxV', gram_VxV, jnp.float32, ('V', 'V'))
  arrays.check('mixing_CxC', mixing_CxC, jnp.float32, ('C', 'C'))
  if len(mixing_CxC) not in (len(gram_VxV), len(gram_VxV) - 1):
    raise ValueError(
      f'mixing_CxC mixes {len(mixing_CxC)} of {len(gram_VxV)} vectors: all are '
      'clients, or all but the last'
    )
  num_roots = len(gram_VxV) - len(mixing_CxC)
  mixing_VxV = block_diag(mixing_CxC, jnp.eye(num_roots))
  return _symmetric(mixing_VxV @ gram_VxV @ mixing_VxV.T)


def _symmetric(matrix: Array) -> Array:
  # So that two clients who are each other's neighbour are an exact tie.
  return (matrix + matrix.T) / 2
