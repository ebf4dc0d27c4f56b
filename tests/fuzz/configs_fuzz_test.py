"""Random configs: bad ones are refused by name, good ones build."""

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from fps_jax.attacks.data import DATA_ATTACKS
from fps_jax.attacks.updates import UPDATE_ATTACKS
from fps_jax.config import defaults as configs
from fps_jax.config.sections import fields_of
from fps_jax.config.validate import validate
from fps_jax.config.variants import resolve_variants
from fps_jax.defences import COORDINATE_RULES, GRAM_RULES, PRE_STEPS
from fps_jax.federated.server import OPTIMIZERS
from fps_jax.models import MODELS
from fps_jax.pruning.schedules import SCHEDULES
from fps_jax.runs.costs.profiles import DISTRIBUTIONS
from fps_jax.sharing.audit import AUDITS
from fps_jax.sharing.schemes import SCHEMES
from tests.helpers import small
from tests.helpers.config_cases import LEAVES, WILD, is_right

pytestmark = pytest.mark.slow

Changes = dict[str, Any]


def nest(changes: Changes) -> dict[str, Any]:
  """Returns the overrides of a variant."""
  overrides: dict[str, Any] = {}
  for name, value in changes.items():
    *sections, field = name.split('.')
    section = overrides
    for part in sections:
      section = section.setdefault(part, {})
    section[field] = value
  return overrides


@functools.cache
def config_of(method: str) -> ConfigDict:
  config = configs.default()
  config.update(ConfigDict(configs.METHODS[method]))
  return config


def refusal(method: str, changes: Changes) -> str:
  """Returns what is said of a method with some fields changed; '' if nothing.

  Anything but a ValueError fails the test.
  """
  config = config_of(method)
  try:
    config.variants = ConfigDict({'fuzzed': nest(changes)})
    (variant,) = resolve_variants(config).values()
    validate(variant)
  except ValueError as error:
    return str(error)
  return ''


@st.composite
def bad_changes(draw: st.DrawFn) -> Changes:
  names = draw(
    st.lists(
      st.sampled_from(sorted(LEAVES)), min_size=1, max_size=4, unique=True
    )
  )
  changes = {}
  for name in names:
    default = LEAVES[name]
    wild = WILD[type(0.5 if default is None else default)]
    bad = [value for value in wild if not is_right(name, value)]
    changes[name] = draw(st.sampled_from(bad))
  return changes


@settings(max_examples=500)
@given(st.sampled_from(sorted(configs.METHODS)), bad_changes())
def test_bad_configs_are_refused_with_the_names_of_their_fields(
  method: str, changes: Changes
) -> None:
  said = refusal(method, changes)
  # A value of another type is refused first, and by itself.
  of_types = [name for name in changes if f'fuzzed.{name}=' in said]
  if of_types:
    assert len(said.splitlines()) == 1
  else:
    lines = said.splitlines()
    for name in changes:
      assert any(line.startswith(f'{name}=') for line in lines), name
    assert len(set(lines)) == len(lines)
  assert all(0 < len(line) < 400 for line in said.splitlines())


# Names that some field takes.
NAMES = sorted(
  {
    *('none', 'iid', 'shards', 'quantity_skew', 'clients', 'local', 'top_k'),
    *('erk', 'layer_normalised', 'dense', 'updates', 'os', 'std', 'first'),
    *MODELS,
    *SCHEDULES,
    *OPTIMIZERS,
    *DISTRIBUTIONS,
    *SCHEMES,
    *AUDITS,
    *DATA_ATTACKS,
    *UPDATE_ATTACKS,
    *GRAM_RULES,
    *COORDINATE_RULES,
    *PRE_STEPS,
  }
)


def values_like(name: str) -> st.SearchStrategy[Any]:
  """Draws values of the type of a field's default, many of them right."""
  default = LEAVES[name]
  if isinstance(default, bool):
    return st.booleans()
  if isinstance(default, int):
    return st.one_of(st.integers(-2, 300), st.integers())
  if isinstance(default, float) or default is None:
    return st.one_of(st.floats(-0.5, 2), st.floats())
  if isinstance(default, str):
    check = fields_of('study')[name].check
    known = [one for one in NAMES if not list(check(one))]
    return st.one_of(st.sampled_from(known or NAMES), st.text(max_size=5))
  entries = st.one_of(
    st.integers(-1, 9),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(NAMES),
  )
  return st.lists(entries, max_size=3).map(tuple)


@st.composite
def any_changes(draw: st.DrawFn) -> Changes:
  names = draw(
    st.lists(
      st.sampled_from(sorted(LEAVES)), min_size=1, max_size=6, unique=True
    )
  )
  return {name: draw(values_like(name)) for name in names}


@settings(max_examples=200)
@given(st.sampled_from(sorted(configs.METHODS)), any_changes())
def test_any_config_is_taken_or_refused_with_a_reason(
  method: str, changes: Changes
) -> None:
  said = refusal(method, changes)
  assert not said or any(
    name.rpartition('.')[2] in said or name.partition('.')[0] in said
    for name in changes
  )


GOOD = {
  'seeds': st.lists(
    st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True
  ).map(tuple),
  'num_rounds': st.integers(1, 5),
  'data.partition': st.sampled_from(
    ['iid', 'dirichlet', 'shards', 'quantity_skew']
  ),
  'data.pixel_mean': st.tuples(st.floats(-1, 1)),
  'data.pixel_std': st.tuples(st.floats(0.1, 2)),
  'model.args.mlp.widths': st.lists(
    st.integers(1, 20), min_size=1, max_size=2
  ).map(tuple),
  'client.momentum': st.floats(0, 0.99),
  'client.proximal': st.floats(0, 1),
  'client.batch_size': st.integers(1, 40),
  'client.steps': st.integers(0, 5),
  'cohort.size': st.integers(2, 8),
  'cohort.weighting': st.sampled_from(['clients', 'examples']),
  'server.optimizer': st.sampled_from(['sgd', 'momentum', 'adam', 'yogi']),
  'pruning.schedule': st.sampled_from(['none', 'constant', 'cubic', 'step']),
  'pruning.sparsity': st.floats(0, 0.5),
  'pruning.score': st.sampled_from(['magnitude', 'random']),
  'pruning.scope': st.sampled_from(['global', 'layer_normalised', 'erk']),
  'pruning.server': st.sampled_from(['sparse', 'dense']),
  'profiles.distribution': st.sampled_from(
    ['none', 'same', 'three_classes', 'lognormal']
  ),
  'sharing.scheme': st.sampled_from(['none', 'quantised', 'ideal', 'shamir']),
  'sharing.prime': st.sampled_from([2**19 - 1, 2**22 - 3, 2**31 - 1]),
  'sharing.num_servers': st.integers(3, 9),
  'sharing.threshold': st.integers(2, 3),
  'sharing.secrets_per_polynomial': st.integers(1, 2),
  'sharing.seeded': st.booleans(),
  'sharing.value_bits': st.integers(2, 10),
  'sharing.clip': st.floats(1e-3, 10),
  'sharing.audit': st.sampled_from(['none', 'servers', 'clients']),
  'eval.every_rounds': st.integers(1, 9),
}


def is_sound(changes: Changes) -> bool:
  """Returns whether no two of `GOOD` exclude each other."""
  return changes.get('pruning.server') != 'dense' or not (
    changes.get('pruning.score') == 'random'
    or changes.get('pruning.scope') == 'layer_normalised'
  )


@settings(max_examples=8)
@given(st.fixed_dictionaries({}, optional=GOOD).filter(is_sound))
def test_good_configs_are_taken_and_build(changes: Changes) -> None:
  config = small.make_config()
  config.variants['fuzzed'] = nest(changes)
  (variant,) = resolve_variants(config).values()
  validate(variant)
  simulation = small.make(variant, variant.seeds[0])
  assert simulation.accounts.num_params > 0
