"""Geometry from inner products: a Gram matrix in place of the updates.

Distances among vectors, and between them and any weighted sum of them, follow
from their inner products alone. Rules that need no more never see an update.
"""

import jax.numpy as jnp
from jax.scipy.linalg import block_diag

from fps_jax.types import Array

# Of a squared norm. Sums of distances up to here stay far below infinity.
MAX_SQUARED_NORM = 2.0**100


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
  """
  num_clients = len(present_C)
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
  """
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
  """
  products_C = gram_CxC @ weights_C
  squares_C = jnp.diagonal(gram_CxC) - 2 * products_C + weights_C @ products_C
  return jnp.sqrt(jnp.maximum(squares_C, 0.0))


def mix(gram_VxV: Array, mixing_CxC: Array) -> Array:
  """Returns the Gram matrix of weighted sums of the clients' updates.

  Args:
    gram_VxV: float32 [V, V], of C clients, or of those and of a root update in
      the last row, which stays as it is.
    mixing_CxC: float32 [C, C], the weights of each sum in a row.

  Returns:
    float32 [V, V], symmetric to the bit.
  """
  num_roots = len(gram_VxV) - len(mixing_CxC)
  mixing_VxV = block_diag(mixing_CxC, jnp.eye(num_roots))
  return _symmetric(mixing_VxV @ gram_VxV @ mixing_VxV.T)


def _symmetric(matrix: Array) -> Array:
  # So that two clients who are each other's neighbour are an exact tie.
  return (matrix + matrix.T) / 2
