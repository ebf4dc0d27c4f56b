"""What tests of real parties have in common."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fps_jax.core.types import RoundPlan

_STUDY = """
from fps_jax.config import defaults

def get_config():
  config = defaults.default()
  defaults.tiny(config)
  config.name = 'study'
  config.model.args.mlp.widths = (16,)
  config.pruning.sparsity = 0.7
  defaults.prune_by_single_threshold(config)
  config.update_from_flattened_dict(
    {{name.replace('__', '.'): value for name, value in {changes!r}.items()}}
  )
  return config
"""


def write_study(file: pathlib.Path, changes: Mapping[str, Any]) -> None:
  """Writes a config file of what `small.make_config` returns."""
  file.write_text(_STUDY.format(changes=dict(changes)))


def rows_of(workdir: pathlib.Path) -> list[dict]:
  """Returns the metrics that a study of one run has written so far."""
  paths = list(workdir.glob('*/seed_0/metrics.jsonl'))
  lines = paths[0].read_text().splitlines() if paths else []
  return [json.loads(line) for line in lines]


def without_client(plan: RoundPlan, client: int) -> RoundPlan:
  """Returns a plan in which a client does not report."""
  is_lost_C = np.asarray(plan.cohort.client_ids) == client
  # Rows of nobody come last.
  order_C = np.argsort(is_lost_C, stable=True)
  cohort, dealings = jax.tree.map(
    lambda rows_C: np.asarray(rows_C)[order_C],
    (plan.cohort, plan.keys.dealings),
  )
  ids_C = np.where(is_lost_C[order_C], -1, cohort.client_ids)
  return dataclasses.replace(
    plan,
    cohort=dataclasses.replace(cohort, client_ids=ids_C),
    keys=plan.keys._replace(dealings=dealings),
  )
