"""What decides, within a scope, which weights are kept: today's or the first.

FedPruneShare ranks weights by their magnitude in the global model, anew each
round. Rules that choose a mask once, before training, are baselines: theirs is
as public, and shared as well.

- `magnitude`: of the global model, in every round.
- `initial_magnitude`: of the model before round 0 (J. Frankle et al., Pruning
  neural networks at initialization: Why are we missing the mark?, ICLR 2021).
- `random`: drawn once (S. Liu et al., The unreasonable effectiveness of random
  pruning, ICLR 2022, which has as many of each layer as the scope `erk`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays, registry
from fps_jax.core.types import Array, Key

SCORES = ('magnitude', 'initial_magnitude', 'random')


def fixed(name: str, params_D: Array, key: Key) -> Array | None:
  """Returns what parameters are ranked by in all rounds of a run.

  Args:
    name: one of `SCORES`.
    params_D: float32 [D], the model before round 0.
    key: of the draw; it is consumed.

  Returns:
    float32 [D], of which magnitudes count; None where every round ranks its own
    model.

  Raises:
    ValueError: if the name is unknown, or the parameters are of another type.
  """
  registry.check_choice('score', name, SCORES)
  arrays.check('params_D', params_D, np.float32, ('D',))
  if name == 'magnitude':
    return None
  if name == 'initial_magnitude':
    return jnp.copy(params_D)
  # Above 0, so that none is as if it were pruned already.
  return jax.random.uniform(key, params_D.shape, minval=1.0, maxval=2.0)


def check(score: str, mask: str, server: str, regrow_every: int) -> None:
  """Checks settings that exclude each other.

  Args:
    score: one of `SCORES`.
    mask: one of `fps_jax.pruning.selection.MASKS`.
    server: one of `fps_jax.pruning.pruner.SERVERS`.
    regrow_every: rounds between two exchanges, 0 for none.

  Raises:
    ValueError: if the score is unknown, or is fixed where masks are to follow
      training.
  """
  registry.check_choice('score', score, SCORES)
  usual = (mask, server, regrow_every) == ('shared', 'sparse', 0)
  if score != 'magnitude' and not usual:
    raise ValueError(
      f'score={score!r} ranks weights once, before training: mask={mask!r}, '
      f'server={server!r} and regrow_every={regrow_every} must be '
      "'shared', 'sparse' and 0"
    )
