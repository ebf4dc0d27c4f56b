"""The section `cohort`: who takes part in a round, and with what weight."""

from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from fps_jax.config.checks import choice, whole
from fps_jax.config.section import Field, Section
from fps_jax.config.sections.attack import malicious_clients
from fps_jax.config.sections.data import make_partition
from fps_jax.config.sections.sharing import scheme_of
from fps_jax.data.cohort import Batching, CohortPlanner, weights_of
from fps_jax.data.dataset import Dataset
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.runs.costs.clock import Clock


def _size(config: ConfigDict) -> Iterator[str]:
  if config.cohort.size > config.data.num_clients:
    yield (
      f'cohort.size={config.cohort.size} must be at most data.num_clients='
      f'{config.data.num_clients}'
    )


SECTION = Section(
  'cohort',
  {
    'size': Field(100, whole(1), 'clients drawn a round'),
    'weighting': Field(
      'examples',
      choice(('clients', 'examples')),
      'with clients all weigh the same: nobody can lie about a count',
    ),
  },
  (_size,),
)


def weighs_examples(config: ConfigDict) -> bool:
  """Returns whether clients count by their examples."""
  return config.cohort.weighting == 'examples'


def largest_weight(config: ConfigDict) -> int:
  """Returns what `CohortPlanner` is told; floats need no coarse weights."""
  sharing = config.sharing
  return sharing.largest_weight if scheme_of(config).has_codec else 0


def largest_sample_count(
  config: ConfigDict, seed: int, dataset: Dataset
) -> int:
  """Returns the largest sample count of a client; 1 where all weigh the same.

  Args:
    config: the config of one variant, valid.
    seed: the run's seed, by which data are dealt.
    dataset: whose train examples are dealt.
  """
  counts = np.array([*map(len, make_partition(config, seed, dataset))])
  weights = weights_of(counts, weighs_examples(config), largest_weight(config))
  return int(weights.max())


def make_planner(
  config: ConfigDict,
  seed: int,
  placed: PlacedDataset,
  partition: list[np.ndarray],
  clock: Clock | None,
) -> CohortPlanner:
  """Returns what draws a run's cohorts and batches."""
  client = config.client
  return CohortPlanner(
    placed.number_rows(partition),
    seed=seed,
    cohort_size=config.cohort.size,
    batching=Batching(client.batch_size, client.epochs, client.steps),
    dropout_probability=config.faults.client_dropout_probability,
    choose_tiers=clock.choose_tiers if clock else None,
    weighs_examples=weighs_examples(config),
    largest_weight=largest_weight(config),
    malicious=malicious_clients(config, seed).tolist(),
    placement=placed.placement,
  )
