"""Robust aggregation of a matrix of updates, by any rule there is.

Example:
  >>> updates = [[1, 2], [1, 1], [2, 1], [1, 2], [-9, -9]]
  >>> aggregate(updates, rule='multi_krum', num_malicious=1).tolist()
  [1.25, 1.5]
  >>> aggregate(updates, rule='median', num_malicious=1).tolist()
  [1.0, 1.0]
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fps_jax.core import arrays
from fps_jax.core.types import Array, Key
from fps_jax.defences import defence as defences


def aggregate(
  updates: ArrayLike,
  rule: str = 'mean',
  num_malicious: int = 0,
  *,
  pre_steps: Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
  root_update: ArrayLike | None = None,
  key: Key | None = None,
  **args: Any,
) -> Array:
  """Returns the aggregate of updates by a rule.

  Args:
    updates: floats [C, M], finite, a row a client.
    rule: a key of `defences.GRAM_RULES` or `defences.COORDINATE_RULES`.
    num_malicious: f, how many of the C clients the rule is to bear.
    pre_steps: keys of `defences.PRE_STEPS`, in order; with arguments, such as
      `{'bucketing': {'size': 2}}`, where one takes some.
    root_update: floats [M], of the server that clients are compared with; of
      `fltrust` alone.
    key: of JAX, for `bucketing`, which draws; None for seed 0.
    **args: of the rule: `iterations` and `smoothing` of `geometric_median`,
      `iterations` and `radius_factor` of `centred_clipping`, `factor` of
      `norm_bound`, `max_scale` of `fltrust`.

  Returns:
    float32 [M].

  Raises:
    ValueError: if an argument is unknown, does not fit, or the rule does not
      bear that many malicious clients.
  """
  updates_CxM = _floats('updates', updates, 2)
  num_malicious = arrays.plain(num_malicious)
  num_clients = len(updates_CxM)
  steps = tuple(pre_steps)
  given = {**(pre_steps if isinstance(pre_steps, Mapping) else {}), rule: args}
  # Names and arguments first: a rule is asked what it bears with them.
  made = defences.make(rule, num_malicious, steps, given, num_clients)
  defences.check(rule, num_malicious, num_clients, steps, given)
  if made.needs_root != (root_update is not None):
    said = 'needs a root_update' if made.needs_root else 'takes no root_update'
    raise ValueError(f'rule {rule!r} {said}: see fps_jax.defences.ROOT_RULES')
  present_C = jnp.ones(num_clients, bool)
  if made.aggregate is not None:
    return made.aggregate(updates_CxM, present_C)
  assert made.weigh is not None  # A defence has the one or the other.
  vectors_VxM = updates_CxM
  if root_update is not None:
    root_M = _floats('root_update', root_update, 1)
    _check_length(root_M, updates_CxM)
    vectors_VxM = jnp.concatenate([updates_CxM, root_M[None]])
  with jax.default_matmul_precision('highest'):
    weights_C = made.weigh(
      vectors_VxM @ vectors_VxM.T,
      present_C,
      jax.random.key(0) if key is None else key,
    )
    return weights_C @ updates_CxM


def _floats(name: str, values: ArrayLike, num_axes: int) -> Array:
  array = np.asarray(values)
  if array.dtype.kind not in 'fiu' or array.ndim != num_axes or not array.size:
    axes = '[C, M]' if num_axes == 2 else '[M]'
    raise ValueError(
      f'{name} are {array.dtype} {list(array.shape)}, must be floats {axes}, '
      'at least one: flatten each, as jax.flatten_util.ravel_pytree does'
    )
  with np.errstate(over='ignore'):
    floats = array.astype(np.float32)
  if not np.isfinite(floats).all():
    raise ValueError(
      f'{name} are not all finite in float32: leave such rows out'
    )
  return jnp.asarray(floats)


def _check_length(root_M: Array, updates_CxM: Array) -> None:
  if root_M.shape != updates_CxM.shape[1:]:
    raise ValueError(
      f'root_update has shape {root_M.shape}, must have '
      f'{updates_CxM.shape[1:]}, as each update: flatten it alike'
    )
