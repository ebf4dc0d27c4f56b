"""Tests of every client, from a config: on examples like those it trains on."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from fps_jax.config.sections.attack import malicious_clients
from fps_jax.config.sections.model import make_loss
from fps_jax.config.sections.pruning import prunes_model
from fps_jax.core.rng import Stream, host_generator
from fps_jax.core.types import MAX_ROUNDS, CohortPlan, Examples
from fps_jax.data.cohort import Batching, CohortPlanner
from fps_jax.data.dataset import Dataset
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.data.own_tests import deal_alike, natural_tests
from fps_jax.data.partitioners import OF_CLIENTS
from fps_jax.federated.by_client import (
  OwnTests,
  Personalisation,
  make_count_personal_right,
  make_count_right,
)
from fps_jax.federated.client import Apply
from fps_jax.federated.losses import num_counted
from fps_jax.runs.by_client import ByClient
from fps_jax.runs.simulation import Simulation


def deal_tests(
  config: ConfigDict,
  seed: int,
  dataset: Dataset,
  partition: Sequence[np.ndarray],
) -> OwnTests | None:
  """Returns which test examples are whose; None where nobody asks.

  Args:
    config: the config of one variant, valid.
    seed: the run's seed.
    dataset: whose test examples are dealt.
    partition: rows of the training set that each client owns.

  Raises:
    ValueError: if predictions are not right or wrong by the loss, the data does
      not say whose its test examples are, where it has to, or no honest client
      has one.
  """
  if not config.eval.by_client_every_rounds:
    return None
  if make_loss(config).is_right is None:
    raise ValueError(
      f'eval.by_client_every_rounds={config.eval.by_client_every_rounds}: with '
      f'model.loss={config.model.loss!r} predictions are not right or wrong: '
      'set it to 0'
    )
  if config.data.partition in OF_CLIENTS:
    rows = natural_tests(dataset)
  else:
    rows = deal_alike(
      partition,
      dataset.train_targets,
      dataset.test_targets,
      host_generator(seed, Stream.TEST_PARTITION),
    )
  malicious = set(malicious_clients(config, seed).tolist())
  if not any(len(own) for c, own in enumerate(rows) if c not in malicious):
    raise ValueError(
      f'no client that is honest has any of the {len(dataset.test_targets)} '
      'test examples: set eval.by_client_every_rounds=0'
    )
  return OwnTests(Examples(dataset.test_inputs, dataset.test_targets), rows)


def make_by_client(
  config: ConfigDict,
  placed: PlacedDataset,
  tests: OwnTests,
  apply: Apply,
  simulation: Simulation,
) -> ByClient:
  """Returns the tests of every client.

  Args:
    config: the config of one variant, valid.
    placed: the data set, on the mesh that the run uses.
    tests: which test examples are whose.
    apply: the model.
    simulation: the run.
  """
  settings, mesh = config.eval, placed.mesh
  planner, method = simulation.planner, simulation.round.method
  own_right, is_right = None, make_loss(config).is_right
  assert is_right is not None  # Or there would be no tests.
  if settings.personal_epochs:
    own_right = make_count_personal_right(
      Personalisation(
        apply,
        is_right,
        method.unravel,
        method.local_update,
        method.exempt_D if prunes_model(config) else None,
        _plan_everyone(planner, settings.personal_epochs),
        simulation.key,
        method.performance,
      ),
      tests,
      settings.batch_size,
      mesh,
    )
  return ByClient(
    settings.by_client_every_rounds,
    make_count_right(
      apply, is_right, method.unravel, tests, settings.batch_size, mesh
    ),
    own_right,
    np.array([num_counted(tests.examples.targets[r]) for r in tests.rows]),
    np.isin(np.arange(len(tests.rows)), list(planner.malicious)),
  )


def _plan_everyone(planner: CohortPlanner, epochs: int) -> CohortPlan:
  """Returns the plan by which every client trains: the same in all rounds."""
  everyone = dataclasses.replace(
    planner,
    cohort_size=len(planner.partition),
    batching=Batching(planner.batching.batch_size, epochs),
    dropout_probability=0.0,
    choose_tiers=None,
  )
  # Its batches are drawn as those of a round that no run has.
  return everyone.plan(MAX_ROUNDS)
