"""A defence by name: pre-steps and a rule, with their arguments checked."""

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core.registry import Registry, check_whole
from fps_jax.core.types import Array, Key
from fps_jax.defences import (
  coordinate_rules,
  gram,
  iterative,
  krum,
  pre_steps,
  scaling,
)

# (gram [C, C], present [C], num_malicious, **arguments) -> weights [C].
GRAM_RULES: Registry[Array] = Registry(
  'defence',
  {
    'mean': scaling.mean,
    'krum': krum.krum,
    'multi_krum': krum.multi_krum,
    'geometric_median': iterative.geometric_median,
    'centred_clipping': iterative.centred_clipping,
    'norm_bound': scaling.norm_bound,
    'fltrust': scaling.fltrust,
  },
  num_first=3,
)
# (updates [C, M], present [C], num_malicious, **arguments) -> [M].
COORDINATE_RULES: Registry[Array] = Registry(
  'defence',
  {
    'median': coordinate_rules.median,
    'trimmed_mean': coordinate_rules.trimmed_mean,
    'bulyan': coordinate_rules.bulyan,
  },
  num_first=3,
)
# (gram [C, C], present [C], num_malicious, key, **arguments) -> Mixing.
PRE_STEPS: Registry[pre_steps.Mixing] = Registry(
  'pre-step',
  {
    'nnm': pre_steps.nnm,
    'bucketing': pre_steps.bucketing,
    'trust': pre_steps.trust,
  },
  num_first=4,
)
_REGISTRIES = (GRAM_RULES, COORDINATE_RULES, PRE_STEPS)
# Rules and pre-steps that are given the Gram matrix with the root update's row.
ROOT_RULES = {'fltrust', 'trust'}
# Rules that may put all weight on one client, however many are present.
SELECTING_RULES = {'krum'}
# (a, b): the rule bears f malicious clients among a f + b; (2, 1) if not here.
LEAST_COHORT = {
  'mean': (0, 1),
  'fltrust': (0, 1),
  'krum': (2, 3),
  'multi_krum': (2, 3),
  'bulyan': (4, 3),
  'bucketing': (0, 1),
  'trust': (0, 1),
}
# Of these no weight is negative; what users add is another matter.
_OWN_RULES = frozenset(GRAM_RULES)
_NO_ARGUMENTS: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({})


class Weigh(Protocol):
  """Gives each client a weight in the sum of updates."""

  def __call__(self, gram_VxV: Array, present_C: Array, key: Key) -> Array:
    """Returns the weights.

    Args:
      gram_VxV: float32 [V, V], inner products of updates; V = C, or C + 1 with
        a root update in the last row.
      present_C: bool [C].
      key: consumed.

    Returns:
      float32 [C]. The aggregate is the sum of weights times updates; nothing is
      normalised afterwards.
    """


class Aggregate(Protocol):
  """Makes one update of all clients'."""

  def __call__(self, updates_CxM: Array, present_C: Array) -> Array:
    """Returns the aggregate, float32 [M], of float32 [C, M] and bool [C]."""


class Defence(NamedTuple):
  """A robust aggregation rule. Exactly one of `weigh`, `aggregate` is given.

  Guarantees of `weigh` and `aggregate`, under `jit` with `present` traced:
    - who is absent has weight 0 and influences nothing, even with NaN in its
      row; so does who has a norm above 2^50, or one that is not finite;
    - weights are finite and at least 0 (of a rule of one's own, less counts as
      0), and their sum is at most 1, but for `fltrust`; it is 1 for `mean`,
      `krum`, `multi_krum`, `geometric_median`, and the aggregate is 0 where
      nobody is present, or `trust` leaves nobody;
    - with fewer present than the rule needs (`check`), a number of neighbours
      or of chosen clients counts as 1 where it would be less, and trimming
      leaves the median;
    - of equal scores and distances the lowest index comes first;
    - but for `bucketing`, the order of clients makes no difference where there
      are no such ties. Two clients nearest to each other are one where Krum
      counts a single neighbour, as in the last steps of Bulyan with f < 3.

  Attributes:
    weigh: of a rule by inner products.
    aggregate: of a rule by coordinates.
    needs_root: whether the Gram matrix has to have the root update's row.
    selects_one: whether all weight may lie on a single client however many are
      present, so that the sum is its update. With few present, or few that are
      trusted, other rules may come down to one, too: the weights tell.
  """

  weigh: Weigh | None
  aggregate: Aggregate | None
  needs_root: bool = False
  selects_one: bool = False


def make(
  name: str,
  num_malicious: int,
  pre_steps: Sequence[str] = (),
  args: Mapping[str, Mapping[str, Any]] = _NO_ARGUMENTS,
  cohort_size: int = 3,
) -> Defence:
  """Returns a defence by name.

  Args:
    name: a key of `GRAM_RULES` or of `COORDINATE_RULES`.
    num_malicious: f, how many of those present the rule takes for malicious, at
      least 0. `check` tells whether it bears as many.
    pre_steps: keys of `PRE_STEPS`, in the order in which they are taken; none
      for a coordinate rule.
    args: keyword arguments of rules and pre-steps by their names; those of
      others than are used are ignored, if they fit.
    cohort_size: C, of a cohort with which the rule is tried: its arguments and
      the shape of what it returns are checked so.

  Raises:
    ValueError: if a name or an argument is unknown, missing or out of range, a
      coordinate rule has pre-steps, or a rule does not return a weight for each
      client (of coordinates, an aggregate).
  """
  _check_names(name, pre_steps)
  check_whole('num_malicious', num_malicious, least=0)
  check_whole('cohort_size', cohort_size, least=1)
  for owner, given in args.items():
    _registry_of(owner).check(owner, given)
  rule = _with_arguments(name, args)
  if name in COORDINATE_RULES:
    aggregate = functools.partial(_aggregate, rule, num_malicious)
    defence = Defence(None, aggregate)
  else:
    weigh = _Weigh(
      rule,
      [(_with_arguments(step, args), step in ROOT_RULES) for step in pre_steps],
      num_malicious,
      needs_root=needs_root(name, pre_steps),
      rule_needs_root=name in ROOT_RULES,
      may_be_negative=name not in _OWN_RULES,
    )
    defence = Defence(
      weigh, None, weigh.needs_root, selects_one(name, pre_steps)
    )
  _try(defence, cohort_size)
  return defence


def needs_root(name: str, pre_steps: Sequence[str]) -> bool:
  """Returns whether a rule, or a pre-step, needs a root update."""
  return not ROOT_RULES.isdisjoint((name, *pre_steps))


def selects_one(name: str, pre_steps: Sequence[str]) -> bool:
  """Returns whether all weight may lie on one client, as `Defence` has it."""
  # A bucket may hold a single client; the neighbours of NNM are several.
  return name in SELECTING_RULES and 'nnm' not in pre_steps


def check(
  name: str,
  num_malicious: int,
  cohort_size: int,
  pre_steps: Sequence[str] = (),
  args: Mapping[str, Mapping[str, Any]] = _NO_ARGUMENTS,
) -> None:
  """Checks that a rule, after its pre-steps, bears f malicious clients of n.

  Krum and multi-Krum need 2f + 2 < n, Bulyan 4f + 3 <= n, and all others
  2f < n, but for `mean` and `fltrust`, which have no bound. After `bucketing`,
  n is the number of buckets.

  Args:
    name: a key of `GRAM_RULES`, `COORDINATE_RULES` or `PRE_STEPS`.
    num_malicious: f, at least 0.
    cohort_size: n, clients that are present, at least 1.
    pre_steps: as for `make`.
    args: as for `make`; the `size` of buckets is used.

  Raises:
    ValueError: if the rule or a pre-step cannot bear as many, or a name is
      unknown.
  """
  check_whole('num_malicious', num_malicious, least=0)
  check_whole('cohort_size', cohort_size, least=1)
  _check_names('mean' if name in PRE_STEPS else name, pre_steps)
  count = cohort_size
  for step in pre_steps:
    _check_count(step, num_malicious, count)
    if step == 'bucketing':
      size = _with_arguments(step, args).keywords['size']
      check_whole('size', size, least=1)
      count = -(-count // size)
  _check_count(name, num_malicious, count)


# By identity, so that `jax.jit` can have it as a function.
@dataclasses.dataclass(frozen=True, eq=False)
class _Weigh:
  """Takes pre-steps, one after the other, and asks a rule for weights."""

  rule: Callable[..., Array]
  # With whether it needs the root update.
  steps: Sequence[tuple[Callable[..., pre_steps.Mixing], bool]]
  num_malicious: int
  needs_root: bool
  rule_needs_root: bool
  may_be_negative: bool

  def __call__(self, gram_VxV: Array, present_C: Array, key: Key) -> Array:
    gram.check_present(present_C)
    num_clients = len(present_C)
    has_root = np.shape(gram_VxV)[:1] == (num_clients + 1,)
    gram.check(gram_VxV, present_C, num_roots=int(has_root))
    if self.needs_root and not has_root:
      raise ValueError(
        f'a Gram matrix of {len(gram_VxV)} rows for {num_clients} clients: the '
        "rule needs the root update's row after theirs"
      )
    mixings: list[Array] = []
    malicious: Array | int = self.num_malicious
    # By default a GPU would round factors to 10 bits.
    with jax.default_matmul_precision('highest'):
      gram_VxV, present_C = gram.leave_out(gram_VxV, present_C)
      for number, (step, takes_root) in enumerate(self.steps):
        given = num_clients + int(takes_root)
        step_key = jax.random.fold_in(key, number)
        mixing = step(gram_VxV[:given, :given], present_C, malicious, step_key)
        gram_VxV = gram.mix(gram_VxV, mixing.matrix_CxC)
        mixings.append(mixing.matrix_CxC)
        present_C, malicious = mixing.present_C, mixing.num_malicious
      if not self.rule_needs_root:
        gram_VxV = gram_VxV[:num_clients, :num_clients]
      weights_C = self.rule(gram_VxV, present_C, malicious)
      _check_shape(self.rule, weights_C, present_C.shape)
      if self.may_be_negative:
        # Servers add shares, and cannot take any away.
        weights_C = jnp.maximum(weights_C, 0.0)
      # Weights of means become weights of those of whom they are means.
      for mixing_CxC in reversed(mixings):
        weights_C = weights_C @ mixing_CxC
    return weights_C


def _aggregate(
  rule: Callable[..., Array],
  num_malicious: int,
  updates_CxM: Array,
  present_C: Array,
) -> Array:
  coordinate_rules.check(updates_CxM, present_C)
  squares_C = jnp.sum(jnp.square(updates_CxM), axis=1)
  present_C = present_C & (squares_C <= gram.MAX_SQUARED_NORM)
  updates_CxM = jnp.where(present_C[:, None], updates_CxM, 0.0)
  with jax.default_matmul_precision('highest'):
    aggregate_M = rule(updates_CxM, present_C, num_malicious)
  _check_shape(rule, aggregate_M, updates_CxM.shape[1:])
  return jnp.where(jnp.any(present_C), aggregate_M, 0.0)


def _try(defence: Defence, cohort_size: int) -> None:
  """Traces a rule, which checks its arguments and what it returns."""
  present_C = jax.ShapeDtypeStruct((cohort_size,), jnp.bool)
  if defence.aggregate is not None:
    # As many values as there are clients would hide which of them come back.
    shape = (cohort_size, cohort_size + 1)
    updates_CxM = jax.ShapeDtypeStruct(shape, jnp.float32)
    jax.eval_shape(defence.aggregate, updates_CxM, present_C)
  if defence.weigh is not None:
    shape = (cohort_size + defence.needs_root,) * 2
    gram_VxV = jax.ShapeDtypeStruct(shape, jnp.float32)
    key = jax.eval_shape(jax.random.key, 0)
    jax.eval_shape(defence.weigh, gram_VxV, present_C, key)


def _check_shape(
  rule: Callable[..., Array], result: Array, shape: tuple[int, ...]
) -> None:
  if jnp.shape(result) != shape:
    function = getattr(rule, 'func', rule)
    name = getattr(function, '__name__', repr(function))
    raise ValueError(
      f'{name} returns an array of shape {jnp.shape(result)}, not {shape}'
    )


def _check_names(name: str, pre_steps: Sequence[str]) -> None:
  GRAM_RULES.check_name(name, COORDINATE_RULES)
  for step in pre_steps:
    PRE_STEPS.check_name(step)
  if pre_steps and name in COORDINATE_RULES:
    raise ValueError(
      f'pre_steps={tuple(pre_steps)} mix by inner products, and defence '
      f'{name!r} needs the updates: take none, or one of {sorted(GRAM_RULES)}'
    )


def _check_count(name: str, num_malicious: int, count: int) -> None:
  factor, more = LEAST_COHORT.get(name, (2, 1))
  least = factor * num_malicious + more
  if count < least:
    raise ValueError(
      f'{name!r} bears num_malicious={num_malicious} of {least} clients (or '
      f'buckets) or more, and is given {count}: lower num_malicious, the size '
      'of buckets, or what makes clients drop out, or take a larger cohort'
    )


def _registry_of(owner: str) -> Registry[Any]:
  for functions in _REGISTRIES:
    if owner in functions:
      return functions
  known = sorted(one for functions in _REGISTRIES for one in functions)
  raise ValueError(f'args name {owner!r}, not one of {known}')


def _with_arguments(
  owner: str, args: Mapping[str, Mapping[str, Any]]
) -> functools.partial[Any]:
  given, functions = args.get(owner, {}), _registry_of(owner)
  functions.check(owner, given)
  return functools.partial(functions[owner], **given)
