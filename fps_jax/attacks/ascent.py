"""An attack that differentiates through the defence: it knows the rule.

Rules and sketches are functions of JAX, so that the derivative of what a round
does to the model by what malicious clients send can be computed.

All malicious clients send one update. It starts from the worst of known
attacks: the honest mean itself, `alie`, `min_max`, `min_sum` and, where the
defence has an update of its own, `trusted_direction`, also as long as honest
updates are. Each step goes along the gradient, and is projected onto a ball
around the honest mean. A step that does more harm and keeps enough weight is
taken, and the next is twice as long; otherwise the next is half as long. So it
also gets on where a rule selects clients, and the derivative of weights is 0.

With a known seed it starts from the honest mean and goes where no sketch sees:
all weight is kept, and the ball alone bounds it.

Known are all honest updates, the rule and its arguments, and the central
server's own update; not what `bucketing` draws, nor, unless a config says so,
the seed of sketches, in whose place are exact inner products. What rounding and
the range check do is left out.

Of this project. The general form, of an attacker that solves for the rule, is
that of M. Fang et al., Local model poisoning attacks to Byzantine-robust
federated learning, USENIX Security 2020.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.attacks import bounded_distance, knowledge, mean_shift
from fps_jax.attacks import trusted_direction as trusted
from fps_jax.attacks.knowledge import Craft, Knowledge
from fps_jax.attacks.outcome import Outcome, make_outcome
from fps_jax.core import registry
from fps_jax.core.types import Array, Key

GOALS = ('against', 'away')


class _Search(NamedTuple):
  """What is searched, and where.

  Attributes:
    known: of the round.
    find: update float32 [M] -> what comes of it.
    least: float32 [], the least weight, a part of all, that is kept.
    spread: float32 [], the root mean square of honest updates' distances to
      their mean.
    radius: float32 [], of the ball around that mean.
  """

  known: Knowledge
  find: Callable[[Array], Outcome]
  least: Array
  spread: Array
  radius: Array

  def project(self, update_M: Array) -> Array:
    """Returns the nearest update of the ball."""
    mean_M = knowledge.mean(self.known)
    offset_M = update_M - mean_M
    length = jnp.linalg.norm(offset_M)
    longer = jnp.where(length > self.radius, length, 1.0)
    scale = jnp.where(length > self.radius, self.radius / longer, 1.0)
    return mean_M + scale * offset_M

  def score(self, outcome: Outcome) -> Array:
    """Returns the harm; of what has too little weight, less than any."""
    keeps = outcome.weight >= self.least
    return jnp.where(keeps, outcome.harm, -jnp.inf)


class _Tried(NamedTuple):
  """An update that malicious clients might send, and what comes of it.

  Attributes:
    update_M: float32 [M].
    outcome: of it.
    gradient_M: float32 [M], of the harm by it.
  """

  update_M: Array
  outcome: Outcome
  gradient_M: Array


def ascent(
  goal: str = 'against', steps: int = 10, keep: float = 0.5, reach: float = 10.0
) -> Craft:
  """Sends what does most harm, found by projected gradient ascent.

  Guarantee: of an update that keeps enough weight, if a start does, the harm by
  the clients' own account is at least that of every start that does.

  Args:
    goal: what is harm: that the aggregate goes 'against' the honest mean, or
      'away' from it, in any direction.
    steps: at least 1.
    keep: weight that malicious clients keep, over that of as many clients in a
      plain mean; in [0, 1].
    reach: radius of the ball, over the root mean square of honest updates'
      distances to the mean; above 0.

  Raises:
    ValueError: if an argument is out of range.
  """
  registry.check_choice('goal', goal, GOALS)
  registry.check_whole('steps', steps, least=1)
  registry.check_positive('reach', reach)
  if not registry.is_number(keep) or not 0 <= keep <= 1:
    raise ValueError(
      f'keep={keep!r} must be in [0, 1]: it is a part of the weight that '
      'clients have in a plain mean'
    )

  def craft(known: Knowledge, key: Key) -> Array:
    spread = jnp.sqrt(knowledge.mean_square(known))
    search = _Search(
      known=known,
      find=make_outcome(known, goal == 'away', key),
      least=keep * known.num_malicious / jnp.maximum(known.num_present, 1),
      spread=spread,
      radius=reach * spread,
    )
    return _climb(search, _worst(search, key), steps)

  return craft


def _climb(search: _Search, start_M: Array, steps: int) -> Array:
  """Returns the update that most harm was found for, float32 [M]."""
  seed = search.known.defence.seed

  def differentiate(update_M: Array) -> _Tried:
    def harm(update_M: Array) -> tuple[Array, Outcome]:
      outcome = search.find(update_M)
      return outcome.harm, outcome

    gradient_M, outcome = jax.grad(harm, has_aux=True)(update_M)
    return _Tried(update_M, outcome, gradient_M)

  def step(_: int, state: tuple[_Tried, Array]) -> tuple[_Tried, Array]:
    best, length = state
    toward_M = best.gradient_M
    if seed is not None:
      toward_M = seed.unseen(toward_M)
    moved_M = best.update_M + length * knowledge.unit(toward_M)
    trial = differentiate(search.project(moved_M))
    gains = search.score(trial.outcome) > search.score(best.outcome)
    best = jax.tree.map(
      lambda new, old: jnp.where(gains, new, old), trial, best
    )
    return best, jnp.where(gains, 2 * length, length / 2)

  start = differentiate(start_M), search.spread
  best, _ = jax.lax.fori_loop(0, steps, step, start)
  return best.update_M


def _worst(search: _Search, key: Key) -> Array:
  """Returns the start that does most harm, float32 [M]."""
  known = search.known
  starts = [knowledge.mean(known)]
  if known.defence.seed is None:
    crafts = [
      mean_shift.alie(),
      bounded_distance.min_max(),
      bounded_distance.min_sum(),
    ]
    starts += [craft(known, key) for craft in crafts]
    if known.defence.root_M is not None:
      trusted_M = trusted.trusted_direction()(known, key)
      # A norm of its own would give it away where that is not rescaled.
      usual = jnp.linalg.norm(jnp.append(starts[0], search.spread))
      starts += [trusted_M, usual * knowledge.unit(trusted_M)]
  starts = [search.project(start_M) for start_M in starts]
  scores_S = jnp.stack([search.score(search.find(each)) for each in starts])
  return jnp.stack(starts)[jnp.argmax(scores_S)]
