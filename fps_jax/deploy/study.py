"""What of a study real parties can run, and what each party makes of it."""

import copy
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from fps_jax import data
from fps_jax.config import sweep
from fps_jax.config.build import build
from fps_jax.config.sections import sharing
from fps_jax.config.sections.pruning import mask_of
from fps_jax.config.validate import validate_all
from fps_jax.config.variants import resolve_variants
from fps_jax.core.devices import make_mesh
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.deploy.client import Trainer
from fps_jax.deploy.server import Rules
from fps_jax.jobs import launch_flags
from fps_jax.runs.simulation import Simulation

# In a deployment's folder: what became of the study, empty if it ended.
OUTCOME = 'outcome'
# What only a simulation can do, or know: fields, and what they must be.
_PLAIN = {
  'sharing.scheme': 'shamir',
  'sharing.reveal': 'sum',
  'defence.name': 'none',
  'attack.malicious': 0,
  'privacy.mode': 'none',
  'pruning.tiers': (1.0,),
  'faults.client_dropout_probability': 0.0,
  'faults.lying_servers': (),
  'faults.missing_servers': (),
  'faults.inconsistent_clients': (),
  'faults.server_dropout_probability': 0.0,
  'faults.server_corruption_probability': 0.0,
  'profiles.distribution': 'none',
  'eval.by_client_every_rounds': 0,
  'data.validation_fraction': 0.0,
}


class Command(NamedTuple):
  """What a command line of `launch.py` says.

  Attributes:
    values: its flags.
    config: what of its config can be deployed.
    left_out: the variants that cannot, and why.
  """

  values: flags.FlagValues
  config: ConfigDict
  left_out: dict[str, str]


def read_command(arguments: Sequence[str]) -> Command:
  """Returns what a command line says, without its program.

  Raises:
    ValueError: if nothing of its config can be deployed.
  """
  values, argv = flags.FlagValues(), ['launch.py', *arguments]
  launch_flags.define(values, argv)
  # Of absl, whose flags are on another list.
  values['verbosity'] = flags.FLAGS['verbosity']
  launch_flags.parse(argv, values)
  config = values.config
  sweep.expand(config, values.sweep)
  return Command(values, config, prepare(config, values.seeded_draws))


def prepare(config: ConfigDict, seeded_draws: bool = False) -> dict[str, str]:
  """Makes a config one for real parties, in place.

  Args:
    config: of a study.
    seeded_draws: whether keys and roundings come from the run's seed.

  Returns:
    The variants that are left out, and why.

  Raises:
    ValueError: if none is left.
  """
  if config.job != 'study':
    raise ValueError(f'job={config.job!r} cannot be deployed: a study can')
  config.sharing.entropy = 'seed' if seeded_draws else 'os'
  # What a central server that is restarted goes on from.
  config.checkpoint.every_rounds = 1
  variants = resolve_variants(config)
  left_out = {
    name: '; '.join(lines)
    for name, variant in variants.items()
    if (lines := list(problems(variant)))
  }
  if len(left_out) == len(variants):
    lines = [
      f'{name} cannot be deployed: {left_out[name]}' for name in variants
    ]
    raise ValueError('\n'.join(lines))
  for name in left_out:
    del config.variants[name]
  if config.baseline in left_out:
    config.baseline = next(iter(config.variants))
  return left_out


def problems(variant: ConfigDict) -> Iterator[str]:
  """Yields why real parties cannot run a variant."""
  flat = variant.to_dict()
  for name, needed in _PLAIN.items():
    section, field = name.split('.')
    value = flat[section][field]
    if value != needed:
      yield f'{name}={value!r} is of simulations: set it to {needed!r}'
  if variant.sharing.audit == 'clients':
    yield "sharing.audit='clients' is of simulations: set it to 'servers'"
  if mask_of(variant) not in (None, 'shared'):
    yield f"pruning.mask={variant.pruning.mask!r} must be 'shared'"
  sizes = variant.sharing
  least = sizes.num_servers + sizes.secrets_per_polynomial
  if 2 * sizes.threshold < least:
    yield (
      f'sharing.threshold={sizes.threshold} must be at least half of '
      f'num_servers + secrets_per_polynomial = {least}: the servers that are '
      'not asked for a sum could be asked for another, which tells of the '
      'difference'
    )


@dataclasses.dataclass
class Study:
  """The runs of a deployment, as a party has them; each is built when asked.

  Attributes:
    config: of the study.
    tfds_data_dir: where TFDS data sets are.
    dataset: the party's own; None for that of the config.
  """

  config: ConfigDict
  tfds_data_dir: str | None = None
  dataset: data.Dataset | None = None
  _last: tuple[tuple[str, int], Trainer] | None = None

  @functools.cached_property
  def variants(self) -> dict[str, ConfigDict]:
    """The configs of its variants, by name; a ValueError if one is invalid."""
    variants = resolve_variants(self.config)
    validate_all(variants)
    return variants

  @property
  def rules(self) -> dict[str, Rules]:
    """What aggregation servers go by."""
    return {
      name: Rules(
        sharing.make_shamir(variant.sharing),
        sharing.min_contributors(variant),
        tuple(variant.seeds),
      )
      for name, variant in self.variants.items()
    }

  def trainer(self, name: str, seed: int) -> Trainer:
    """Returns what clients train with in a run; the last one is kept.

    Raises:
      ValueError: if there is no such run, or data do not fit the config.
    """
    if name not in self.variants or seed not in self.variants[name].seeds:
      raise ValueError(
        f'study {name!r} with seed {seed} is none of this deployment, which '
        f'has {sorted(self.variants)}'
      )
    if self._last is None or self._last[0] != (name, seed):
      self._last = (name, seed), self._build(name, seed)
    return self._last[1]

  def _build(self, name: str, seed: int) -> Trainer:
    variant, dataset = self.variants[name], self.dataset
    if dataset is None:
      dataset = data.load(variant.data.source, self.tfds_data_dir)
      simulation = _build(variant, seed, dataset)
    else:
      simulation = _build_own(variant, seed, dataset)
    return Trainer(simulation, simulation.put_data(), variant.sharing.entropy)


def _build(variant: ConfigDict, seed: int, dataset: data.Dataset) -> Simulation:
  mesh = make_mesh(variant.perf.num_devices)
  return build(variant, seed, PlacedDataset(dataset, mesh))


def _build_own(
  variant: ConfigDict, seed: int, dataset: data.Dataset
) -> Simulation:
  """Builds a run in which every client has all of a data set: its own.

  Raises:
    ValueError: if clients weigh their examples, whose largest number nobody
      knows.
  """
  if variant.cohort.weighting != 'clients':
    raise ValueError(
      f'cohort.weighting={variant.cohort.weighting!r} needs the largest number '
      "of examples of any client: with data of their own, set 'clients'"
    )
  variant = copy.deepcopy(variant)
  variant.data.partition = 'iid'
  simulation = _build(variant, seed, dataset)
  every = np.arange(len(dataset.train_targets), dtype=np.int32)
  planner = dataclasses.replace(
    simulation.planner, partition=[every] * variant.data.num_clients
  )
  return dataclasses.replace(simulation, planner=planner)
