"""A study: every variant of a config under every seed, then the report."""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict
from rich.console import Console, RenderableType

from fps_jax import data
from fps_jax.config.build import build
from fps_jax.config.validate import validate
from fps_jax.config.variants import check_alike, resolve_variants
from fps_jax.core import files
from fps_jax.core.devices import make_mesh
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.jobs import agreement, notices
from fps_jax.jobs.options import Options
from fps_jax.jobs.recording import Record
from fps_jax.results import kept_warnings, tensorboard
from fps_jax.results import workdir as workdirs
from fps_jax.results.metrics import MetricsRow
from fps_jax.results.metrics_file import (
  MetricsWriter,
  count_rounds,
  has_diverged,
  is_finished,
  keep_rounds,
)
from fps_jax.results.summary import title_of
from fps_jax.runs.checkpoints import CheckpointError, Checkpoints
from fps_jax.runs.progress import Progress
from fps_jax.runs.simulation import Simulation
from fps_jax.runs.train import train

_DEFAULTS = Options()
# What ends a study, with a message for the user.
_STOPS = (ValueError, OSError, FloatingPointError, CheckpointError)


class StudyError(Exception):
  """A study cannot run or go on; the message says why and what to do."""


class _Run(NamedTuple):
  """One run of a study."""

  name: str
  seed: int
  variant: ConfigDict
  simulation: Simulation

  @property
  def title(self) -> str:
    """What it is called in what a user reads."""
    return f'{title_of(self.name)}, seed {self.seed}'

  @property
  def folder(self) -> pathlib.Path:
    """Where it is in the work directory."""
    return pathlib.Path(self.name, f'seed_{self.seed}')


def run_study(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options = _DEFAULTS,
  console: Console | None = None,
) -> None:
  """Runs a study and writes everything about it to the work directory.

  Everything is checked, and every run is built, before the first one starts;
  several processes compare configs, versions and data, and none starts alone.
  In the work directory of the same config, finished runs are not run again and
  the one that was killed goes on from its last checkpoint. The files are those
  that `fps_jax.results.report` reads, with `config.json` (the whole config;
  each variant's folder has its own, resolved), `environment.json` (versions,
  device, code, command line; `resumed` holds the same of every time that the
  study went on) and `source` (copies of the user's own code).

  Args:
    config: see `fps_jax.config.defaults.default`.
    workdir: created if need be; empty, or of the same config.
    argv: the command line, for the record.
    options: of the command line.
    console: where progress and the table go; by default standard output.

  Raises:
    StudyError: if the config is invalid, variants differ in a field of
      `STUDY_FIELDS`, the data is missing, the work directory is of another
      study, of one whose code has changed, or cannot be written, a checkpoint
      is damaged, training diverges and is to stop the study, or processes
      differ.
    StoppedError: if `options.interruption` asked it to stop.
  """
  console = console or Console()
  try:
    workdir = files.local(workdir, '--workdir')
    with files.naming(workdir), contextlib.ExitStack() as stack:
      with agreement.together() as facts:
        variants = _check_all(config, workdir, options)
        stack.enter_context(workdirs.hold(workdir, config, options.overwrite))
        record = Record.now(workdir, argv, options)
        placed = _load_all(variants, options.tfds_data_dir)
        if jax.process_count() > 1:
          facts |= agreement.describe(config, record.environment)
          facts['data'] = {
            name: agreement.digest_of_data(each.dataset)
            for (name, _), each in placed.items()
          }
      runs = _build_all(variants, placed)
      warnings = _warn(variants, runs)
      if options.overwrite:
        workdirs.empty(workdir)
      record.write(workdir, config, variants)
      kept_warnings.keep(workdir, warnings)
      _run_all(runs, workdir, options, console)
      table = _report(config, variants, workdir)
  except _STOPS as error:
    raise StudyError(str(error)) from error
  console.print(table)
  console.print(f'Results are in {workdir}', soft_wrap=True, highlight=False)


def _check_all(
  config: ConfigDict, workdir: pathlib.Path, options: Options
) -> dict[str, ConfigDict]:
  """Returns the variants of a study that can run, as far as configs tell."""
  if options.tensorboard:
    tensorboard.require()
  variants = resolve_variants(config)
  check_alike(config, variants)
  for name in variants:
    files.local(workdir / name, f'variant {name}')
  validate_all(variants)
  if jax.process_count() > 1:
    _check_processes(variants, workdir)
  return variants


def validate_all(variants: Mapping[str, ConfigDict]) -> None:
  """Validates every variant of a config.

  Raises:
    ValueError: a line for each problem of the first that is wrong, which a line
      names if there are several.
  """
  for name, variant in variants.items():
    try:
      validate(variant)
    except ValueError as error:
      if len(variants) == 1:
        raise
      lines = str(error).splitlines()
      raise ValueError(
        '\n'.join(f'variant {name}: {line}' for line in lines)
      ) from error


def _check_processes(
  variants: Mapping[str, ConfigDict], workdir: pathlib.Path
) -> None:
  # A study that processes did not agree on leaves its lock.
  if workdir.is_dir() and {path.name for path in workdir.iterdir()} - {'lock'}:
    raise ValueError(
      f'work directory {workdir} is not empty: {jax.process_count()} processes '
      'do not go on together, give another --workdir'
    )
  for variant in variants.values():
    if variant.checkpoint.every_rounds:
      raise ValueError(
        f'checkpoint.every_rounds={variant.checkpoint.every_rounds} must be 0 '
        f'with {jax.process_count()} processes, which do not go on together'
      )


def _load_all(
  variants: Mapping[str, ConfigDict], tfds_data_dir: str | None
) -> dict[tuple[str, int], PlacedDataset]:
  """Loads every data set once for each number of devices that is asked for."""
  placed = {}
  for variant in variants.values():
    source, num_devices = use = _use(variant)
    if use not in placed:
      dataset = data.load(source, tfds_data_dir)
      placed[use] = PlacedDataset(dataset, make_mesh(num_devices))
  return placed


def _use(variant: ConfigDict) -> tuple[str, int]:
  return variant.data.source, variant.perf.num_devices


def _build_all(
  variants: Mapping[str, ConfigDict],
  placed: Mapping[tuple[str, int], PlacedDataset],
) -> list[_Run]:
  """Builds every run; variants of one data set share it."""
  return [
    _Run(name, seed, variant, build(variant, seed, placed[_use(variant)]))
    for name, variant in variants.items()
    for seed in variant.seeds
  ]


def _warn(
  variants: Mapping[str, ConfigDict], runs: Sequence[_Run]
) -> list[str]:
  """Logs what settings come to, and returns it."""
  lines = notices.gather(
    {
      title_of(name): notices.before_run(
        variant, [run.simulation for run in runs if run.name == name]
      )
      for name, variant in variants.items()
    }
  )
  for line in lines:
    logging.warning('%s', line)
  return lines


def _run_all(
  runs: Sequence[_Run],
  workdir: pathlib.Path,
  options: Options,
  console: Console,
) -> None:
  """Runs what has not run."""
  profile = workdir / 'profile' if options.profile else None
  with Progress(console) as progress:
    for run in runs:
      rows, emptied = _run(run, workdir, progress, profile, options)
      profile = None  # The first run is enough.
      for line in notices.after_run(rows, emptied):
        logging.warning('%s: %s', run.title, line)
      if has_diverged(rows):
        said = notices.divergence(rows[-1], run.variant.num_rounds)
        if run.variant.on_divergence == 'stop':
          raise FloatingPointError(
            f"{run.title}: {said}, or set on_divergence='end_run'"
          )
        logging.warning(
          '%s: %s; the run ends, and is in no mean', run.title, said
        )
      if options.interruption:
        options.interruption.settle()


def _run(
  run: _Run,
  workdir: pathlib.Path,
  progress: Progress,
  profile: pathlib.Path | None,
  options: Options,
) -> tuple[list[MetricsRow], list[str]]:
  """Runs the rounds of a run that are left.

  Returns:
    The rows of all its rounds, and the layers that pruning emptied.
  """
  variant, simulation = run.variant, run.simulation
  folder = workdir / run.folder
  path = folder / 'metrics.jsonl'
  events = workdir / 'tensorboard' / run.folder if options.tensorboard else None
  with contextlib.ExitStack() as stack:
    checkpoints, rounds_done = None, 0
    if _is_done(path, variant, folder / 'checkpoints'):
      rounds_done = count_rounds(path)
    elif variant.checkpoint.every_rounds:
      checkpoints = stack.enter_context(
        Checkpoints(folder / 'checkpoints', **variant.checkpoint)
      )
      rounds_done = checkpoints.last_round
    rows = keep_rounds(path, rounds_done)
    progress.start_run(title_of(run.name), run.seed, variant.num_rounds, rows)
    writer = stack.enter_context(MetricsWriter(path))
    write_events = stack.enter_context(tensorboard.writing(events))

    def on_row(row: MetricsRow) -> None:
      writer.write(row)
      write_events(row)
      progress.update(row)
      rows.append(row)

    emptied = []
    if len(rows) < variant.num_rounds and not has_diverged(rows):
      state = train(
        simulation,
        variant.num_rounds,
        variant.eval.every_rounds,
        on_row,
        profile,
        checkpoints,
        options.interruption,
      )
      emptied = simulation.accounts.emptied_layers(jax.device_get(state.params))
  progress.finish_run()
  return rows, emptied


def _is_done(
  metrics: pathlib.Path, variant: ConfigDict, checkpoints: pathlib.Path
) -> bool:
  """Returns whether a run has all rows it will have and is owed no checkpoint.

  The folder of checkpoints precedes the first row. So where rows are without
  one, there never were any or somebody removed them; where there is one, the
  last checkpoint has to tell.
  """
  has_folder = variant.checkpoint.every_rounds and checkpoints.exists()
  return not has_folder and is_finished(metrics, variant.num_rounds)


def _report(
  config: ConfigDict, variants: Mapping[str, ConfigDict], workdir: pathlib.Path
) -> RenderableType:
  """Writes the report of all runs, and returns its tables."""
  # Matplotlib comes with it: not before the runs, which leave it the memory.
  from fps_jax.results import report

  return report.write_report(
    workdir,
    list(variants),
    config.baseline or next(iter(variants)),
    target_accuracy=config.target_accuracy,
  )
