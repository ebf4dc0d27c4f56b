"""The mean, and rules that scale updates by their norm before they add them.

Every rule takes gram_CxC, float32 [C, C] as `gram.leave_out` returns it,
present_C, bool [C], and num_malicious, int32 [], f, which may be traced. It
returns float32 [C], and raises ValueError where an argument does not fit.
"""

import jax.numpy as jnp

from fps_jax.core import arrays, registry
from fps_jax.core.types import Array
from fps_jax.defences import gram, order


def mean(
  gram_CxC: Array, present_C: Array, num_malicious: Array | int
) -> Array:
  """Returns weight 1/n for each client present: no defence."""
  gram.check_present(present_C, num_malicious)
  del gram_CxC, num_malicious
  return present_C / jnp.float32(order.count(present_C))


def norm_bound(
  gram_CxC: Array,
  present_C: Array,
  num_malicious: Array | int,
  *,
  factor: float,
) -> Array:
  """Returns weights that bound norms: min(1, bound/norm)/n.

  The bound is `factor`, above 0, times the median norm of those present; the
  paper has a fixed one. The sum of the weights is at most 1.

  Reference: Z. Sun, P. Kairouz, A. T. Suresh and H. B. McMahan, Can you really
  backdoor federated learning?, 2019.
  """
  gram.check(gram_CxC, present_C, num_malicious)
  del num_malicious
  registry.check_positive('factor', factor)
  norms_C = gram.roots(jnp.diagonal(gram_CxC))
  num_present = order.count(present_C)
  median = order.median(jnp.where(present_C, norms_C, jnp.inf), num_present)
  return scale_to(norms_C, factor * median) * present_C / num_present


def fltrust(
  gram_VxV: Array,
  present_C: Array,
  num_malicious: Array | int,
  *,
  max_scale: float,
) -> Array:
  """Returns weights by agreement with a root update that the server trusts.

  Every update is scaled to the root's norm, and weighed by its cosine with the
  root over the sum of all cosines; a negative cosine counts as 0. All weights
  are 0 if no cosine is positive.

  In the paper an update may be scaled up without bound. Servers multiply shares
  by integers of a bounded sum, and a client that sends next to nothing would
  take all of it: the others' weights would be rounded down to 0.

  Reference: X. Cao, M. Fang, J. Liu and N. Z. Gong, FLTrust: Byzantine-robust
  federated learning via trust bootstrapping, NDSS 2021.

  Args:
    gram_VxV: float32 [C + 1, C + 1], as `gram.leave_out` returns it, the root
      update in the last row.
    present_C: bool [C].
    num_malicious: not used.
    max_scale: what an update is scaled by at most, above 0.

  Returns:
    float32 [C]; the sum may be above 1, where updates are shorter than the
    root's, up to `max_scale`.
  """
  gram.check(gram_VxV, present_C, num_malicious, num_roots=1)
  del num_malicious
  registry.check_positive('max_scale', max_scale)
  norms_V = gram.roots(jnp.diagonal(gram_VxV))
  norms_C, root_norm = norms_V[:-1], norms_V[-1]
  trusted_C = present_C & (gram_VxV[-1, :-1] > 0) & (norms_C > 0)
  # Nothing is divided by 0, not even where the result is not used.
  lengths_C = jnp.where(trusted_C, norms_C, 1.0)
  # The cosines times the root's norm, which cancels.
  trust_C = jnp.where(trusted_C, gram_VxV[-1, :-1] / lengths_C, 0.0)
  total = jnp.sum(trust_C)
  shares_C = trust_C / jnp.where(total > 0, total, 1.0)
  return shares_C * root_norm / jnp.maximum(lengths_C, root_norm / max_scale)


def scale_to(lengths_C: Array, bound: Array) -> Array:
  """Returns what brings each length down to the bound: min(1, bound/length).

  Args:
    lengths_C: float32 [C], at least 0.
    bound: float32 [], at least 0.

  Returns:
    float32 [C], in [0, 1]; 1 for a length of 0.

  Raises:
    ValueError: if an argument does not fit.
  """
  arrays.check('lengths_C', lengths_C, jnp.float32, ('C',))
  arrays.check('bound', bound, jnp.float32, ())
  is_long_C = lengths_C > bound
  return jnp.where(is_long_C, bound / jnp.where(is_long_C, lengths_C, 1.0), 1.0)
