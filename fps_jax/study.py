"""A study: every variant of a config under every seed, then the report."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging
from ml_collections import ConfigDict
from rich.console import Console

from fps_jax import data
from fps_jax import workdir as workdirs
from fps_jax.build import build
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.devices import make_mesh
from fps_jax.environment import describe_environment
from fps_jax.metrics import MetricsRow, MetricsWriter
from fps_jax.options import Options
from fps_jax.progress import Progress
from fps_jax.simulation import Simulation
from fps_jax.summary import title_of
from fps_jax.train import train
from fps_jax.validate import validate

# More than this share of clipped values is worth a word.
_MUCH_CLIPPED = 0.01


_DEFAULTS = Options()


class StudyError(Exception):
  """A study cannot run or go on; the message says why and what to do."""


class _Run(NamedTuple):
  """One run of a study."""

  name: str
  seed: int
  variant: ConfigDict
  simulation: Simulation


def resolve_variants(config: ConfigDict) -> dict[str, ConfigDict]:
  """Returns the full config of every variant, in the order of the config.

  Args:
    config: with `variants`, whose entries override fields of the rest.

  Returns:
    Name to config, without `variants`. A config without variants is one
    variant that bears its name.

  Raises:
    ValueError: if a variant overrides a field that does not exist or gives it
      a value of another type, or the baseline is not a variant.
  """
  variants = config.variants.to_dict()
  if config.baseline and config.baseline not in variants:
    raise ValueError(
      f'baseline={config.baseline!r} is not one of the variants '
      f'{list(variants)}'
    )
  base = config.to_dict()
  del base['variants']
  resolved = {}
  for name, overrides in (variants or {config.name: {}}).items():
    resolved[name] = ConfigDict(base)
    _override(resolved[name], overrides, f'variants.{name}.')
    resolved[name].lock()
  return resolved


def _override(
  config: ConfigDict, overrides: Mapping[str, Any], path: str
) -> None:
  """Sets the fields of a config that exist; `path` is for the error."""
  for field, value in overrides.items():
    if field not in config:
      raise ValueError(
        f'{path}{field} is not a field of the config; those there are '
        f'{sorted(config)}'
      )
    if isinstance(config[field], ConfigDict) and isinstance(value, Mapping):
      _override(config[field], value, f'{path}{field}.')
      continue
    try:
      config[field] = value
    except TypeError as error:
      raise ValueError(
        f'{path}{field}={value!r} must be of type '
        f'{type(config[field]).__name__}'
      ) from error


def run_study(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options = _DEFAULTS,
  console: Console | None = None,
) -> None:
  """Runs a study and writes everything about it to the work directory.

  Everything is checked, and every run is built, before the first one starts.
  The files are those that `fps_jax.report` reads, with `config.json` (the
  whole config; each variant's folder has its own, resolved) and
  `environment.json` (versions, device, commit, command line).

  Args:
    config: see `fps_jax.config.default`.
    workdir: created; must not exist, or be empty.
    argv: the command line, for the record.
    options: of the command line.
    console: where progress and the table go; by default standard output.

  Raises:
    StudyError: if the config is invalid, the data is missing, the work
      directory is in use or cannot be written, or training diverges.
  """
  console = console or Console()
  workdir = pathlib.Path(workdir)
  try:
    variants = resolve_variants(config)
    for name, variant in variants.items():
      _validate(name, variant, alone=len(variants) == 1)
    workdirs.create(workdir)
    simulations = _build_all(variants, options.tfds_data_dir)
    workdirs.write_json(workdir / 'config.json', json.loads(config.to_json()))
    workdirs.write_json(
      workdir / 'environment.json', describe_environment(argv)
    )
    for name, variant in variants.items():
      workdirs.write_json(
        workdir / name / 'config.json', json.loads(variant.to_json())
      )
    profile = workdir / 'profile' if options.profile else None
    with Progress(console) as progress:
      for (name, seed), simulation in simulations.items():
        run = _Run(name, seed, variants[name], simulation)
        _run(run, workdir, progress, profile)
        profile = None  # The first run is enough.
    # Matplotlib comes with it: not before the runs, which leave it the memory.
    from fps_jax import report

    table = report.write_report(
      workdir,
      list(variants),
      config.baseline or next(iter(variants)),
      target_accuracy=config.target_accuracy,
    )
  except (ValueError, OSError, FloatingPointError) as error:
    raise StudyError(str(error)) from error
  console.print(table)
  console.print(f'Results are in {workdir}', soft_wrap=True, highlight=False)


def _validate(name: str, variant: ConfigDict, alone: bool) -> None:
  try:
    validate(variant)
  except ValueError as error:
    if alone:
      raise
    lines = str(error).splitlines()
    raise ValueError(
      '\n'.join(f'variant {name}: {line}' for line in lines)
    ) from error


def _build_all(
  variants: dict[str, ConfigDict], tfds_data_dir: str | None
) -> dict[tuple[str, int], Simulation]:
  """Builds every run; variants of one data set share it."""
  placed: dict[tuple[str, int], PlacedDataset] = {}
  simulations = {}
  for name, variant in variants.items():
    use = variant.data.source, variant.perf.num_devices
    if use not in placed:
      dataset = data.load(variant.data.source, tfds_data_dir)
      mesh = make_mesh(variant.perf.num_devices)
      placed[use] = PlacedDataset(dataset, mesh)
    for seed in variant.seeds:
      simulations[name, seed] = build(variant, seed, placed[use])
  return simulations


def _run(
  run: _Run,
  workdir: pathlib.Path,
  progress: Progress,
  profile: pathlib.Path | None,
) -> None:
  name, seed, variant, simulation = run
  path = workdir / name / f'seed_{seed}' / 'metrics.jsonl'
  clipped = []
  progress.start_run(title_of(name), seed, variant.num_rounds)
  with MetricsWriter(path) as writer:

    def on_row(row: MetricsRow) -> None:
      writer.write(row)
      progress.update(row)
      clipped.append(row['clipped_fraction'] or 0.0)

    train(
      simulation,
      variant.num_rounds,
      variant.eval.every_rounds,
      on_row,
      profile,
    )
  progress.finish_run()
  if max(clipped) > _MUCH_CLIPPED:
    logging.warning(
      '%s, seed %d: up to %.1f %% of the values of a round were clipped at '
      'sharing.clip=%g: raise it',
      name,
      seed,
      100 * max(clipped),
      variant.sharing.clip,
    )
