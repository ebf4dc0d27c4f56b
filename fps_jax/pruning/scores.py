"""What decides, within a scope, which weights are kept.

FedPruneShare ranks weights by their magnitude in the global model, anew each
round. Rules that choose a mask once, before or early in training, are
baselines: theirs is as public, and shared as well.

- `magnitude`: of the global model, in every round.
- `initial_magnitude`: of the model before round 0 (J. Frankle et al., Pruning
  neural networks at initialization: Why are we missing the mark?, ICLR 2021).
- `random`: drawn once (S. Liu et al., The unreasonable effectiveness of random
  pruning, ICLR 2022, which has as many of each layer as the scope `erk`).
- `saliency`: weight times mean update, of the last round before pruning begins
  (R. Ohib et al., SSFL: Discovering sparse unified subnetworks at
  initialization for efficient federated learning, arXiv 2405.09037, 2024).

SSFL averages each client's magnitudes of weight times gradient, which it asks
all clients for before training. Here what is opened is the sum of updates of a
round of training, as of every other: magnitudes are taken of the mean, where
clients that disagree cancel out, and gradients are those of all local steps of
the round's cohort. Its bytes are a round's without pruning.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays, registry
from fps_jax.core.types import Array, Key

SCORES = ('magnitude', 'initial_magnitude', 'random', 'saliency')


def fixed(name: str, params_D: Array, key: Key) -> Array | None:
  """Returns what parameters are ranked by in all rounds of a run.

  Saliency is of a round: until one has been, it is the initial magnitude.

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
  if name in ('initial_magnitude', 'saliency'):
    return jnp.copy(params_D)
  # Above 0, so that none is as if it were pruned already.
  return jax.random.uniform(key, params_D.shape, minval=1.0, maxval=2.0)


def saliency(params_D: Array, update_D: Array) -> Array:
  """Returns what a round says of each weight: by how much it changes the loss.

  To first order, and but for a factor, that is what the loss would rise by
  without the weight.

  Reference: N. Lee et al., SNIP: Single-shot network pruning based on
  connection sensitivity, ICLR 2019, equation 3, with the mean update in place
  of a gradient.

  Args:
    params_D: float32 [D], that clients received.
    update_D: float32 [D], the mean of their updates.

  Returns:
    float32 [D], at least 0 where both are finite.

  Raises:
    ValueError: if the arguments do not fit.
  """
  arrays.check('params_D', params_D, np.float32, ('D',))
  arrays.check('update_D', update_D, np.float32, params_D.shape)
  return jnp.abs(params_D * update_D)


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
      f'score={score!r} ranks weights once, for all rounds: mask={mask!r}, '
      f'server={server!r} and regrow_every={regrow_every} must be '
      "'shared', 'sparse' and 0"
    )
