"""Pruning of one's own parameters: a pytree in, a pytree out.

Example:
  >>> params = {'kernel': jnp.float32([[3, -1], [0.5, 2]]), 'bias': jnp.ones(2)}
  >>> pruned = prune(params, sparsity=0.5, exempt=('bias',))
  >>> pruned['kernel'].tolist(), pruned['bias'].tolist()
  ([[3.0, 0.0], [0.0, 0.0]], [1.0, 1.0])
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fps_jax.core import arrays, registry
from fps_jax.core.types import Params, PruningPlan
from fps_jax.pruning import masks
from fps_jax.pruning.pruner import Pruner, check_patterns


def prune(
  params: Params,
  sparsity: float,
  scope: str = 'global',
  exempt: Sequence[str] = (),
) -> Params:
  """Returns parameters with the smallest magnitudes set to 0.

  Args:
    params: pytree of arrays of floats of at most 32 bits.
    sparsity: fraction of all of them that is removed, in [0, 1).
    scope: a key of `fps_jax.pruning.scopes.SCOPES`.
    exempt: regular expressions, searched for in paths such as
      `'hidden_0/kernel'`: what matches is kept whole.

  Returns:
    The pytree, with the types that it had.

  Raises:
    ValueError: as of `keep_mask`.
  """
  mask = keep_mask(params, sparsity, scope, exempt)
  return jax.tree.map(lambda kept, a: jnp.where(kept, a, 0), mask, params)


def keep_mask(
  params: Params,
  sparsity: float,
  scope: str = 'global',
  exempt: Sequence[str] = (),
) -> Params:
  """Returns which parameters `prune` keeps: exactly D - round(sparsity * D).

  Arguments as of `prune`.

  Returns:
    Pytree of bool like the parameters.

  Raises:
    ValueError: if there are none, one is no array of floats, the sparsity is
      out of range or keeps fewer than are exempt, the scope is unknown, or a
      pattern matches nothing.
  """
  _check_floats(params)
  sparsity = arrays.plain(sparsity)
  if isinstance(exempt, str):
    raise ValueError(
      f'exempt={exempt!r} must be a tuple of patterns: write ({exempt!r},)'
    )
  if not registry.is_number(sparsity):
    raise ValueError(f'sparsity={sparsity!r} must be a number in [0, 1)')
  pruner = Pruner.of(params, exempt, scope=scope)
  check_patterns(params, exempt)
  num_params = sum(pruner.sizes)
  count = masks.keep_count(num_params, sparsity, pruner.num_exempt)
  plan = PruningPlan.keeping(count, pruner.layer_counts(count))
  # In float32, whatever they are: magnitudes are only compared.
  params_D, unravel = ravel_pytree(
    jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
  )
  mask = unravel(pruner.keep(params_D, plan).astype(jnp.float32))
  return jax.tree.map(lambda kept: kept > 0, mask)


def _check_floats(params: Params) -> None:
  leaves = jax.tree.leaves(params)
  kinds = {str(getattr(a, 'dtype', type(a).__name__)) for a in leaves}
  if not leaves or not kinds <= {'float32', 'float16', 'bfloat16'}:
    raise ValueError(
      f'params has leaves of {sorted(kinds) or "nothing"}, must be a pytree of '
      'float32, float16 or bfloat16 arrays: cast them, as by '
      'jax.tree.map(numpy.float32, params)'
    )
