"""A study small enough for any test: 8 x 8 images, 8 clients, 3 rounds."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import numpy as np
from ml_collections import ConfigDict

from fps_jax import data
from fps_jax.config import build, defaults
from fps_jax.core.devices import make_mesh
from fps_jax.core.types import RoundMetrics, RoundPlan, RoundState
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.federated.collection import AuditFindings
from fps_jax.results.metrics import MetricsRow
from fps_jax.runs import train
from fps_jax.runs.simulation import Simulation

# What users compile, where `conftest` has tests compile in a third of the time.
_FULL: dict[str, Any] = {
  'xla_backend_optimization_level': 3,
  'xla_cpu_use_fusion_emitters': True,
}


@contextlib.contextmanager
def full_compilation() -> Iterator[None]:
  """Has programs that are jitted inside optimised, as those of users are.

  For what is held to the last bits of training: XLA rounds as it fuses.
  """
  with mock.patch.object(jax, 'jit', full_jit):
    yield


full_jit = functools.partial(jax.jit, compiler_options=_FULL)


def make_config(**overrides: Any) -> ConfigDict:
  """Returns FedPruneShare on fake data, with a small model, changed.

  Args:
    **overrides: values by dotted names; in Python's names, `__` is the dot:
      `make_config(num_rounds=2, sharing__scheme='ideal')`.
  """
  small = defaults.default()
  defaults.tiny(small)
  small.model.args.mlp.widths = (16,)
  small.pruning.sparsity = 0.7
  defaults.prune_by_single_threshold(small)
  return change(small, **overrides)


def change(config: ConfigDict, **overrides: Any) -> ConfigDict:
  """Sets fields of a config in place, as `make_config` does; returns it."""
  config.update_from_flattened_dict(
    {name.replace('__', '.'): value for name, value in overrides.items()}
  )
  return config


def make(small: ConfigDict, seed: int = 0) -> Simulation:
  """Builds one run of a config."""
  dataset = data.load(small.data.source)
  mesh = make_mesh(small.perf.num_devices)
  return build.build(small, seed, PlacedDataset(dataset, mesh))


def with_clients(plan: RoundPlan, number: int) -> RoundPlan:
  """Returns a plan in which the first clients report, so many, and no other."""
  ids_C = np.asarray(plan.cohort.client_ids)
  reporting_C = np.where(np.arange(len(ids_C)) < number, ids_C, -1)
  return dataclasses.replace(
    plan, cohort=dataclasses.replace(plan.cohort, client_ids=reporting_C)
  )


def step(
  simulation: Simulation, state: RoundState, plan: RoundPlan
) -> tuple[RoundState, RoundMetrics, AuditFindings]:
  """Runs one round; `state` is donated."""
  data = simulation.put_data()
  collected = simulation.start(state, plan, data)
  return simulation.finish(state, plan, data, collected)


def run(
  small: ConfigDict, seed: int = 0
) -> tuple[np.ndarray, list[MetricsRow]]:
  """Returns the final parameters of a run and its metrics, without times."""
  return run_simulation(make(small, seed), small)


def run_simulation(
  simulation: Simulation, small: ConfigDict
) -> tuple[np.ndarray, list[MetricsRow]]:
  """Returns what `run` does, of a simulation that is built already."""
  rows: list[MetricsRow] = []
  state, _ = train.train(
    simulation, small.num_rounds, small.eval.every_rounds, rows.append
  )
  for row in rows:
    row['round_seconds'] = 0.0
  return np.asarray(state.params), rows
