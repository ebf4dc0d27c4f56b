"""An attack that hides what malicious clients trained, such as a backdoor.

What they trained is a matter of `fps_jax.attacks.data`. All send the honest
mean, moved towards their own by as much as the defence cannot tell.
"""

import jax.numpy as jnp

from fps_jax.attacks import knowledge
from fps_jax.attacks.knowledge import Craft, Knowledge
from fps_jax.core import registry
from fps_jax.core.types import Array


def hidden(deviations: float = 1.0) -> Craft:
  """Sends the honest mean and as much of one's own mean as is not seen.

  Without a known seed, the squared distance to the honest mean is at most that
  of the median honest update, and as many standard deviations more as the
  defence's estimate of it has: it is seen as far out as honest ones are. With
  it, what is added is the part that is not in what servers open.

  Either way, it is at most what moves the mean of all updates to the malicious
  clients' own one: the difference of the two means, n times over m, of n
  clients, m of them malicious.

  Guarantee: with a known seed, all that the defence sees is that of the honest
  mean, up to rounding.

  Known are all honest updates, how far the defence's estimates deviate and, if
  a config says so, the seed of sketches. Of this project, not of a paper.

  Args:
    deviations: of the defence's estimate; above 0.

  Raises:
    ValueError: if it is out of range.
  """
  registry.check_positive('deviations', deviations)

  def craft(known: Knowledge, _: object) -> Array:
    mean_M, defence = knowledge.mean(known), known.defence
    own_M = knowledge.malicious_mean(known) - mean_M
    most = known.num_present / jnp.maximum(known.num_malicious, 1)
    if defence.seed is not None:
      return mean_M + most * defence.seed.unseen(own_M)
    square = _median_square(known) * (1 + deviations * defence.deviation)
    length = jnp.linalg.norm(own_M)
    room = jnp.sqrt(square) / jnp.where(length > 0, length, 1.0)
    return mean_M + jnp.minimum(room, most) * own_M

  return craft


def _median_square(known: Knowledge) -> Array:
  """Returns the median of honest updates' squared distances to their mean."""
  squares_C = jnp.sum(jnp.square(knowledge.centred(known)), axis=1)
  return jnp.nanmedian(jnp.where(known.honest_C, squares_C, jnp.nan))
