"""What tests of real parties have in common."""

import dataclasses
import json
import pathlib

import jax
import numpy as np

from fps_jax.core.types import RoundPlan


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
