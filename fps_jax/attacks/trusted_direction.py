"""An attack on trust in a direction, such as that of FLTrust.

X. Cao et al. (FLTrust, NDSS 2021) weigh each update by its cosine with one that
the central server trained, and scale it to that one's norm. What is left to an
attacker is a part of such an update that is at right angles to the server's.
"""

import jax.numpy as jnp

from fps_jax.attacks import knowledge
from fps_jax.attacks.knowledge import Craft, Knowledge
from fps_jax.core import registry
from fps_jax.core.types import Array


def trusted_direction(cosine: float = 0.7) -> Craft:
  """Agrees with the trusted update as far as it must, and harms with the rest.

  All malicious clients send one update, as long as the trusted one, so that a
  rescaling to its norm changes nothing. Its part at right angles to the trusted
  one goes against what the honest mean has there. Where FLTrust trusts many,
  that part counts by cosine x sqrt(1 - cosine^2): most at 1 / sqrt(2).

  Known are the trusted update and all honest ones. Where the defence trains
  none, the mean of what malicious clients trained stands for it.

  Guarantee: the norm is the trusted one's, and the cosine with it as given, up
  to rounding. Where the honest mean has no part at right angles to it, or it is
  0, it is sent itself.

  Args:
    cosine: with the trusted update, in (0, 1].

  Raises:
    ValueError: if it is out of range.
  """
  if not registry.is_number(cosine) or not 0 < cosine <= 1:
    raise ValueError(
      f'cosine={cosine!r} must be in (0, 1]: of less, nobody is trusted'
    )
  sine = (1 - cosine**2) ** 0.5

  def craft(known: Knowledge, _: object) -> Array:
    trusted_M = known.defence.root_M
    if trusted_M is None:
      trusted_M = knowledge.malicious_mean(known)
    unit_M, mean_M = knowledge.unit(trusted_M), knowledge.mean(known)
    rest_M = mean_M - jnp.vdot(mean_M, unit_M) * unit_M
    # Once more: what rounding left would be all of a short rest.
    rest_M = rest_M - jnp.vdot(rest_M, unit_M) * unit_M
    # Of a mean along the trusted update, the rest is rounding.
    has_rest = jnp.vdot(rest_M, rest_M) > 1e-10 * jnp.vdot(mean_M, mean_M)
    mixed_M = cosine * unit_M - sine * knowledge.unit(rest_M)
    toward_M = jnp.where(has_rest, mixed_M, unit_M)
    return jnp.linalg.norm(trusted_M) * toward_M

  return craft
