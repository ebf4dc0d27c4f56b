"""Runs written by hand, whose summaries can be worked out."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import pytest

from fps_jax.results import metrics, metrics_file
from fps_jax.results import workdir as workdirs
from fps_jax.runs.by_client import NOT_ASKED


@contextlib.contextmanager
def killed_after(
  is_last: Callable[[Mapping[str, Any]], bool],
) -> Iterator[None]:
  """Kills what runs inside once it has written a row of metrics.

  Args:
    is_last: whether a row is that one.
  """
  write = metrics_file.MetricsWriter.write

  def write_or_die(self, row):
    write(self, row)
    if is_last(row):
      raise KeyboardInterrupt

  with (
    mock.patch.object(metrics_file.MetricsWriter, 'write', write_or_die),
    pytest.raises(KeyboardInterrupt),
  ):
    yield


def make_row(round_number: int, **changes: Any) -> dict[str, Any]:
  """Returns a valid row of metrics, but for what is changed."""
  row = metrics.MetricsRow(
    round=round_number,
    diverged=False,
    reached_accuracy=False,
    validation_accuracy=None,
    validation_loss=None,
    test_accuracy=None,
    test_loss=None,
    train_loss=0.5,
    sparsity=0.25,
    kept_parameters=75,
    **NOT_ASKED,
    clients_reporting=4,
    clients_malicious=0,
    clients_not_finite=0,
    clients_out_of_range=0,
    capped_weight=None,
    malicious_weight=None,
    opened_values_per_client=0,
    attack_success=None,
    clients_dropped=0,
    clients_too_slow=0,
    clients_per_tier=[4],
    clipped_fraction=None,
    failed_attempts=0,
    missing_servers=[],
    wrong_servers=[],
    wrong_servers_correctable=1,
    wrong_servers_detectable=2,
    inconsistent_clients=[],
    epsilon=None,
    clip_norm=None,
    uplink_bytes_per_client=400,
    downlink_bytes_per_client=400,
    server_to_central_bytes=0,
    simulated_seconds=None,
    round_seconds=0.1,
  )
  return {**row, **changes}


def names_not_taken(
  workdir: pathlib.Path, variants: Collection[str]
) -> list[str]:
  """Returns what is in a work directory that a variant might be named."""
  own = {path.name for path in workdir.iterdir()} - {*variants}
  assert own, 'nothing is there but variants'
  return sorted(filter(workdirs.is_name, own))


def write_run(
  workdir: pathlib.Path,
  variant: str,
  seed: int,
  accuracies: Sequence[float | None],
  uplinks: Sequence[int],
  simulated_seconds: float | None = None,
  sparsity: float | None = None,
  diverged: bool = False,
  losses: Sequence[float | None] | None = None,
) -> None:
  """Writes the metrics of a run.

  Args:
    workdir: of the study.
    variant: name of its folder.
    seed: of the run; what times and downlinks depend on.
    accuracies: of each round on the test set, None where not evaluated.
    uplinks: bytes of each round.
    simulated_seconds: of every round.
    sparsity: of every round; by default it grows.
    diverged: whether training did in the last round.
    losses: of each round on the test set.
  """
  path = workdir / variant / f'seed_{seed}' / 'metrics.jsonl'
  with metrics_file.MetricsWriter(path) as writer:
    for index, (accuracy, uplink) in enumerate(
      zip(accuracies, uplinks, strict=True)
    ):
      writer.write(
        make_row(
          index + 1,
          diverged=diverged and index + 1 == len(accuracies),
          test_accuracy=accuracy,
          test_loss=None if losses is None else losses[index],
          sparsity=0.25 * index if sparsity is None else sparsity,
          uplink_bytes_per_client=uplink,
          downlink_bytes_per_client=1000 * seed,
          server_to_central_bytes=500,
          simulated_seconds=simulated_seconds,
          # Round 1 takes long, as compilation does.
          round_seconds=60.0 if index == 0 else 0.25 * (index + seed),
        )
      )


def write_study(
  workdir: pathlib.Path,
  variants: Mapping[str, Mapping[str, Any]],
  seeds: Sequence[int] = (0,),
  num_rounds: int = 3,
  **fields: Any,
) -> None:
  """Writes the configs and the environment of a study that has no run yet.

  Args:
    workdir: of the study, made if need be.
    variants: what each overrides, at the top level.
    seeds: of the config.
    num_rounds: of the config.
    **fields: others.
  """
  config = {
    'name': 'by_hand',
    'seeds': list(seeds),
    'num_rounds': num_rounds,
    'baseline': '',
    **fields,
  }
  environment = {'python': '3.11', 'argv': ['launch.py', '--config=a b.py']}
  contents = {
    'config.json': {**config, 'variants': variants},
    'environment.json': environment,
    **{
      f'{name}/config.json': {**config, **overrides}
      for name, overrides in variants.items()
    },
  }
  for name, content in contents.items():
    path = workdir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
