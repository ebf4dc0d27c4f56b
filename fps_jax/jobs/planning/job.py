"""How long the host takes to plan a round: a job of launch.py.

A plan says who takes part, and in which order each client goes through its
examples. Rounds wait for it if it takes longer than the round before.
"""

import functools
import pathlib
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fps_jax.config import defaults as configs
from fps_jax.config.checks import each, whole
from fps_jax.config.section import Field, Section
from fps_jax.config.sections import JOB_SECTIONS
from fps_jax.config.sections.cohort import make_planner
from fps_jax.config.validate import validate
from fps_jax.core.devices import make_mesh
from fps_jax.core.environment import describe_environment
from fps_jax.core.rng import Stream, host_generator
from fps_jax.data.cohort import CohortPlanner
from fps_jax.data.dataset import Dataset
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.jobs.bench import Bench, own_section
from fps_jax.jobs.options import Options
from fps_jax.results.tables import Table


def _some_cohort_fits(config: ConfigDict) -> Iterator[str]:
  sizes = config.planning
  if min(sizes.cohorts) > max(sizes.populations):
    yield (
      f'planning.cohorts={sizes.cohorts} are all larger than the largest of '
      f'planning.populations={sizes.populations}: lower one'
    )


SECTION = JOB_SECTIONS['planning'] = Section(
  'planning',
  {
    'populations': Field(
      (1_000, 10_000, 100_000, 1_000_000), each(whole(1), least=1), 'clients'
    ),
    'cohorts': Field(
      (10, 100, 1_000, 10_000, 100_000),
      each(whole(1), least=1),
      'clients a round, of every population that has as many',
    ),
    'examples': Field(20, whole(1), 'of each client'),
    'rounds': Field(5, whole(1), 'of which the median is taken'),
  },
  (_some_cohort_fits,),
)


def default() -> ConfigDict:
  """Returns the default config of the benchmark."""
  config = configs.default()
  config.name = config.job = 'planning'
  configs.add_section(config)
  return config


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options,
) -> None:
  """Plans rounds of every population and cohort, and prints their times.

  Args:
    config: see `default`; batches, tiers and faults are those of its sections.
    workdir: must not exist, or be empty.
    argv: see `fps_jax.jobs.run.Job`.
    options: without those of studies.

  Raises:
    StudyError: if the config is invalid or the work directory cannot be used.
  """
  bench = Bench(workdir, options)
  with bench.checking(config):
    sizes = own_section(config, 'planning')
    validate(config)
  bench.record(describe_environment(argv))
  rows = []
  # From the smallest: memory is the most that the process ever had.
  for population in sorted(sizes.populations):
    for row in _measure(config, population):
      rows.append(row)
      bench.say(
        f'{population:,} clients, {row["cohort"]:,} a round: '
        f'{row["plan_seconds"]:.2g} s'
      )
  bench.finish({'rows': rows}, [_table(rows)])


def _measure(config: ConfigDict, population: int) -> Iterator[dict[str, Any]]:
  """Yields what each cohort of a population takes."""
  sizes, seed = config.planning, config.seeds[0]
  num_examples = population * sizes.examples
  # Nobody looks at them.
  inputs = np.zeros((num_examples, 1, 1, 1), np.uint8)
  targets = np.zeros(num_examples, np.int32)
  dataset = Dataset('nothing', inputs, targets, inputs, targets, 1)
  placed = PlacedDataset(dataset, make_mesh(1))
  partition = np.split(np.arange(num_examples, dtype=np.int32), population)
  for cohort in sizes.cohorts:
    if cohort > population:
      continue
    variant = config.copy_and_resolve_references()
    variant.cohort.size = cohort
    variant.data.num_clients = population
    start = time.perf_counter()
    planner = make_planner(variant, seed, placed, partition, None)
    planner.plan(0)
    first = time.perf_counter() - start
    yield {
      'population': population,
      'cohort': cohort,
      'first_seconds': first,
      'plan_seconds': _median(planner.plan, sizes.rounds),
      'one_by_one_seconds': _median(
        functools.partial(_one_by_one, planner), sizes.rounds
      ),
      'peak_rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _one_by_one(planner: CohortPlanner, round_number: int) -> None:
  """Shuffles the examples of each client by a generator made for it."""
  for client in planner.draw(round_number).client_ids.tolist():
    generator = host_generator(
      planner.seed, Stream.BATCHES, round_number, client
    )
    generator.permutation(planner.partition[client])


def _median(function: Callable[[int], object], rounds: int) -> float:
  """Returns the seconds of a call, of rounds from 1."""
  seconds = []
  for round_number in range(1, rounds + 1):
    start = time.perf_counter()
    function(round_number)
    seconds.append(time.perf_counter() - start)
  return statistics.median(seconds)


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
  columns = {
    'Clients per round': '{cohort:,}',
    'First plan (s)': '{first_seconds:.3f}',
    'Plan (s)': '{plan_seconds:.4f}',
    'Client by client (s)': '{one_by_one_seconds:.4f}',
    'Peak memory (MiB)': '{peak_rss_mb:,.0f}',
  }
  lines = [
    [
      f'{row["population"]:,}',
      *(form.format_map(row) for form in columns.values()),
    ]
    for row in rows
  ]
  return Table(
    'Time to plan a round',
    ['Clients', *columns],
    lines,
    'First plan: with what is counted once.\n'
    'Client by client: making a generator of NumPy for each client, and '
    'shuffling its examples; a plan does that and more.\n'
    'Peak memory: of the process so far.',
  )
