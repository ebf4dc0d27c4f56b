"""The masks of a run: which parameters a round keeps, tries out and regrows.

Everything here is a function of public data: whoever has the model the mask was
drawn from knows the mask, and an update needs no indices.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays, registry
from fps_jax.core.types import Array, Key, Params, PruningPlan
from fps_jax.pruning import erk, masks
from fps_jax.pruning.scopes import SCOPES
from fps_jax.pruning.scores import SCORES

SERVERS = ('sparse', 'dense')
# What decides which candidates stay.
REGROW_RULES = ('movement', 'magnitude')


@dataclasses.dataclass(frozen=True)
class Pruner:
  """How parameters are chosen; fixed while a run lasts.

  Guarantees:
    - a mask keeps exactly as many as the plan says, candidates included;
    - exempt parameters are always kept, whatever parameters hold: of a model
      that diverged, too;
    - ties go to the lower index, and in each scope masks of one vector are
      nested;
    - candidates are pruned parameters, each as likely as any other.

  Attributes:
    shapes: of the layers' arrays, in the order of the flat vector.
    exempt: which of them are never pruned.
    scope: a key of `fps_jax.pruning.scopes.SCOPES`.
    score: one of `fps_jax.pruning.scores.SCORES`.
    regrows: whether rounds may have candidates.
    regrow_rule: one of `REGROW_RULES`, see `regrow`.

  Raises:
    ValueError: if a name is unknown, or there are more or fewer shapes than
      `exempt` tells of; by any method, if its arguments do not fit.
  """

  shapes: tuple[tuple[int, ...], ...]
  exempt: tuple[bool, ...]
  scope: str = 'global'
  score: str = 'magnitude'
  regrows: bool = False
  regrow_rule: str = 'movement'

  def __post_init__(self):
    registry.check_choice('scope', self.scope, tuple(SCOPES))
    registry.check_choice('score', self.score, SCORES)
    registry.check_choice('regrow_rule', self.regrow_rule, REGROW_RULES)
    erk.check_layers(self.shapes, self.exempt)

  @classmethod
  def of(cls, params: Params, patterns: Sequence[str], **kwargs: Any) -> Self:
    """Returns the pruner of a model.

    Args:
      params: the model's parameters; shapes are enough.
      patterns: regular expressions, searched for in paths such as
        `'hidden_0/kernel'` or `'output/bias'`: what matches is exempt.
      **kwargs: the other attributes.
    """
    layers = named_layers(params)
    return cls(
      shapes=tuple(layer.shape for _, layer in layers),
      exempt=tuple(_is_exempt(path, patterns) for path, _ in layers),
      **kwargs,
    )

  @property
  def sizes(self) -> list[int]:
    """Parameters of each layer."""
    return [math.prod(shape) for shape in self.shapes]

  @property
  def num_exempt(self) -> int:
    """Parameters that are never pruned."""
    return int(self.exempt_mask.sum())

  @property
  def exempt_mask(self) -> np.ndarray:
    """Bool [D], whether a parameter is never pruned."""
    return np.repeat(self.exempt, self.sizes)

  def layer_counts(self, keep_count: int) -> tuple[int, ...] | None:
    """Returns how many of each layer are kept; None for one threshold."""
    return SCOPES[self.scope]().counts(self.shapes, self.exempt, keep_count)

  def keep(self, params_D: Array, plan: PruningPlan, tier: int = -1) -> Array:
    """Returns the mask of a tier in a round, without its candidates.

    Args:
      params_D: float32 [D].
      plan: of the round.
      tier: in [0, T), or -1 for the last one.

    Returns:
      bool [D].
    """
    self._check('params_D', params_D, np.float32)
    arrays.check_integer('tier', tier, -1, len(plan.keep_counts_T) - 1)
    count = plan.keep_counts_T[tier]
    # Whoever trains less than the whole mask tries nothing out.
    if tier % len(plan.keep_counts_T) == len(plan.keep_counts_T) - 1:
      count -= plan.num_candidates
    scores_D = self._scores(params_D)
    if plan.layer_counts_TxA is not None:
      return self._keep_by_layer(scores_D, plan.layer_counts_TxA[tier])
    return masks.keep_largest(scores_D, count, self.exempt_mask)

  def draw_part(self, kept_D: Array, plan: PruningPlan, key: Key) -> Array:
    """Returns a public random choice among what the model keeps.

    Exempt parameters are always in it.

    Reference: J. Konecny et al., Federated learning: strategies for improving
    communication efficiency, arXiv 1610.05492, 2016, "random mask"; there, each
    client draws one of its own, of a model that is not pruned.

    Args:
      kept_D: bool [D], what `keep` says of `plan.model`.
      plan: of the round; the part has as many as it says.
      key: of the draw; it is consumed.

    Returns:
      bool [D].
    """
    self._check('kept_D', kept_D, bool)
    # Above the 0 of what is pruned, which is therefore never drawn.
    lots_D = jax.random.uniform(key, kept_D.shape, minval=1.0, maxval=2.0)
    lots_D = jnp.where(kept_D, lots_D, 0.0)
    if plan.layer_counts_TxA is not None:
      return self._keep_by_layer(lots_D, plan.layer_counts_TxA[-1])
    return masks.keep_largest(lots_D, plan.keep_count, self.exempt_mask)

  def draw_candidates(self, mask_D: Array, count: Array, key: Key) -> Array:
    """Returns a public random choice among pruned parameters.

    Args:
      mask_D: bool [D], what is kept.
      count: int32 [], how many, at most as many as are pruned; may be traced.
      key: of the round; it is consumed.

    Returns:
      bool [D].
    """
    self._check('mask_D', mask_D, bool)
    known = arrays.known(mask_D)
    num_pruned = None if known is None else int((~known).sum())
    arrays.check_integer('count', count, 0, num_pruned)

    def draw() -> Array:
      # Above the 0 of what is kept, which is therefore never drawn.
      lots_D = jax.random.uniform(key, mask_D.shape, minval=1.0, maxval=2.0)
      return masks.keep_largest(jnp.where(mask_D, 0.0, lots_D), count)

    # Most rounds have none, and are spared the search.
    return jax.lax.cond(count > 0, draw, lambda: jnp.zeros_like(mask_D))

  def regrow(
    self, params_D: Array, candidates_D: Array, kept_D: Array, plan: PruningPlan
  ) -> Array:
    """Returns the parameters after a round with candidates.

    - `'movement'`: the candidates that training moved furthest, all from 0,
      take the place of the smallest, both by the scores of the scope. Both
      numbers are the plan's `num_regrown`. Reference: U. Evci et al., Rigging
      the lottery, ICML 2020, with the summed local update in place of a
      gradient.
    - `'magnitude'`: of candidates and others the largest stay, as many as the
      plan keeps besides candidates, however many of these that is. Reference:
      what the server does in S. Bibikar et al., Federated dynamic sparse
      training, AAAI 2022; there each client grows weights of its own, by its
      gradient, and sends which.

    Args:
      params_D: float32 [D], after the server's step.
      candidates_D: bool [D].
      kept_D: bool [D], what was kept besides.
      plan: of the round.

    Returns:
      float32 [D], 0 in all but `keep_count - num_candidates` places.
    """
    self._check('params_D', params_D, np.float32)
    self._check('candidates_D', candidates_D, bool)
    self._check('kept_D', kept_D, bool)

    def largest() -> Array:
      return jnp.where(self.keep(params_D, plan), params_D, 0.0)

    def exchange() -> Array:
      count = plan.keep_count - plan.num_candidates - plan.num_regrown
      scores_D = self._scores(params_D)
      # Candidates began at 0: what they are is what training made of them.
      old_D = jnp.where(kept_D, scores_D, 0.0)
      new_D = jnp.where(candidates_D, scores_D, 0.0)
      stays_D = masks.keep_largest(old_D, count, self.exempt_mask)
      grows_D = masks.keep_largest(new_D, plan.num_regrown)
      is_left_D = (kept_D & stays_D) | (candidates_D & grows_D)
      return jnp.where(is_left_D, params_D, 0.0)

    choose = largest if self.regrow_rule == 'magnitude' else exchange
    return jax.lax.cond(plan.num_candidates > 0, choose, lambda: params_D)

  def _keep_by_layer(self, scores_D: Array, counts_A: Array) -> Array:
    """Returns the mask bool [D] of as many of each layer as `counts_A` says."""
    layers = list(self._layers(scores_D))
    # An exempt layer is kept whole, without a search.
    kept = [jnp.ones(layer.shape, bool) for layer in layers]
    sizes, searched = np.array(self.sizes), np.logical_not(self.exempt)
    # One search for all layers of a size: each is a loop of many kernels.
    for size in np.unique(sizes[searched]):
      places = np.flatnonzero(searched & (sizes == size))
      same_SxL = jnp.stack([layers[i] for i in places])
      kept_SxL = jax.vmap(masks.keep_largest)(same_SxL, counts_A[places])
      for i, kept_L in zip(places, kept_SxL, strict=True):
        kept[i] = kept_L
    return jnp.concatenate(kept)

  def _check(self, name: str, array: Array, dtype: Any) -> None:
    arrays.check(name, array, dtype, (sum(self.sizes),))

  def _scores(self, params_D: Array) -> Array:
    scope = SCOPES[self.scope]()
    return jnp.concatenate([scope.score(a) for a in self._layers(params_D)])

  def _layers(self, params_D: Array) -> Iterator[Array]:
    start = 0
    for size in self.sizes:
      yield params_D[start : start + size]
      start += size


def check(
  scope: str, server: str, regrow_every: int, regrow_rule: str = 'movement'
) -> None:
  """Checks settings that exclude each other.

  Args:
    scope: a key of `fps_jax.pruning.scopes.SCOPES`.
    server: `'sparse'`: what is pruned is 0 and forgotten. `'dense'`: the
      central server remembers the last value of what is pruned and chooses
      among all parameters anew each round.
    regrow_every: rounds between two exchanges, 0 for none.
    regrow_rule: one of `REGROW_RULES`.

  Raises:
    ValueError: if a name is unknown; if regrowth is combined with a server
      that forgets nothing, or exchanges weights of all layers where
      each has a number of its own (ERK); or if a dense server is combined with
      norms of layers, which is worse than either.
  """
  registry.check_choice('scope', scope, tuple(SCOPES))
  registry.check_choice('server', server, SERVERS)
  registry.check_choice('regrow_rule', regrow_rule, REGROW_RULES)
  if regrow_every and server != 'sparse':
    raise ValueError(
      f'regrow_every={regrow_every} needs server=sparse, not '
      f'server={server!r}, which forgets no weight: set '
      "server='sparse' or regrow_every=0"
    )
  if regrow_every and regrow_rule == 'movement' and SCOPES[scope].has_counts():
    one_threshold = [name for name in SCOPES if not SCOPES[name].has_counts()]
    raise ValueError(
      f'regrow_every={regrow_every} with regrow_rule={regrow_rule!r} needs a '
      f'scope of {one_threshold}, not scope={scope!r}, which fixes how many '
      "each layer has: set scope='global', regrow_rule='magnitude' or "
      'regrow_every=0'
    )
  if server == 'dense' and scope == 'layer_normalised':
    raise ValueError(
      f'server={server!r} with scope={scope!r} is less accurate than either '
      "alone (experiments/README.md): set server='sparse', or scope to "
      "'global' or 'erk'"
    )


def check_patterns(
  params: Params, patterns: Sequence[str], optional: Sequence[str] = ()
) -> None:
  """Checks that every pattern of what is exempt matches a parameter.

  Args:
    params: the model's parameters; shapes are enough.
    patterns: see `Pruner.of`.
    optional: those of them that need not.

  Raises:
    ValueError: if one matches none.
  """
  paths = [path for path, _ in named_layers(params)]
  for pattern in patterns:
    if pattern not in optional and not any(
      _is_exempt(path, (pattern,)) for path in paths
    ):
      raise ValueError(
        f'pruning.exempt has {pattern!r}, which matches none of {paths}: mend '
        'it, or leave it out'
      )


def emptied_layers(
  template: Params, params_D: Array, patterns: Sequence[str]
) -> list[str]:
  """Returns the paths of the prunable layers of which nothing is left.

  Args:
    template: the model's parameters; shapes are enough.
    params_D: float32 [D], the parameters in the vector's order, 0 where they
      are pruned.
    patterns: see `Pruner.of`.
  """
  layers = named_layers(template)
  ends = np.cumsum([math.prod(layer.shape) for _, layer in layers])
  # Of NumPy: nothing is compiled, as this is looked at once.
  values = np.split(np.asarray(params_D), ends[:-1])
  return [
    path
    for (path, _), layer in zip(layers, values, strict=True)
    if not _is_exempt(path, patterns) and not layer.any()
  ]


def named_layers(params: Params) -> list[tuple[str, Array]]:
  """Returns the arrays of a model by their paths, in the vector's order."""
  return [
    (jax.tree_util.keystr(path, simple=True, separator='/'), layer)
    for path, layer in jax.tree_util.tree_leaves_with_path(params)
  ]


def _is_exempt(path: str, patterns: Sequence[str]) -> bool:
  return any(re.search(pattern, path) for pattern in patterns)
