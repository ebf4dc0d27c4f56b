"""Where a study keeps what it comes to: in a work directory, or in memory."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ml_collections import ConfigDict
from rich.console import RenderableType

from fps_jax.config.sections.model import initial_folder
from fps_jax.core import extras, files
from fps_jax.core.environment import describe_environment, user_code
from fps_jax.jobs import other_rounds
from fps_jax.jobs.options import Options
from fps_jax.jobs.recording import Record, initial_models
from fps_jax.jobs.study_run import StudyRun
from fps_jax.results import kept_warnings, tensorboard
from fps_jax.results import workdir as workdirs
from fps_jax.results.metrics import BY_CLIENT, EVALUATED, MetricsRow
from fps_jax.results.metrics_file import (
  MetricsWriter,
  count_rounds,
  forget_evaluations,
  is_finished,
  keep_rounds,
)
from fps_jax.runs.checkpoints import Checkpoints


class Kept(NamedTuple):
  """What there is of a run, and what takes the rest.

  Attributes:
    rows: of the rounds that are done.
    write: takes the rows of the next ones, in order.
    checkpoints: to go on from, and to add to; None for neither.
  """

  rows: list[MetricsRow]
  write: Callable[[MetricsRow], None]
  checkpoints: Checkpoints | None = None


class Keeper(Protocol):
  """Keeps a study. Its methods are called in this order."""

  @property
  def profile(self) -> pathlib.Path | None:
    """Folder for a trace of a round; None for no trace."""

  def check(self, variants: Mapping[str, ConfigDict]) -> None:
    """Raises ValueError if these could not be kept."""

  def hold(
    self, config: ConfigDict, variants: Mapping[str, ConfigDict]
  ) -> contextlib.AbstractContextManager[dict[str, Any]]:
    """Makes the place this process's own, for as long as the study runs.

    Returns:
      A context of what the process runs on, as `core.environment` has it.

    Raises:
      ValueError: on entering, if the place is of another study.
    """

  def begin(self, runs: Sequence[StudyRun], warnings: Sequence[str]) -> None:
    """Takes what the study is, before its first run."""

  def open(self, run: StudyRun) -> contextlib.AbstractContextManager[Kept]:
    """Returns a context of what there is of a run, for as long as it runs."""

  def finish(self, variants: Sequence[str]) -> None:
    """Takes note that all runs have ended."""


class InMemory:
  """Keeps nothing: what runs return is all there is of them."""

  profile = None

  def __init__(self, options: Options) -> None:
    """Takes the options of the study, whose flags need a folder."""
    self._options = options

  def check(self, variants: Mapping[str, ConfigDict]) -> None:
    """Raises ValueError if an option writes files, or a config keeps any."""
    if self._options.of_studies:
      raise ValueError(
        f'{", ".join(self._options.of_studies)} without a work directory: give '
        'one'
      )

  @contextlib.contextmanager
  def hold(
    self, config: ConfigDict, variants: Mapping[str, ConfigDict]
  ) -> Iterator[dict[str, Any]]:
    """Yields what the process runs on, and begins with."""
    code = user_code(self._options.config_file)
    environment = describe_environment((), code)
    if models := initial_models(variants):
      environment['initial_models'] = models
    yield environment

  def begin(self, runs: Sequence[StudyRun], warnings: Sequence[str]) -> None:
    """Keeps nothing."""

  @contextlib.contextmanager
  def open(self, run: StudyRun) -> Iterator[Kept]:
    """Yields a run of which nothing is done."""
    yield Kept([], lambda row: None)

  def finish(self, variants: Sequence[str]) -> None:
    """Keeps nothing."""


class Following(InMemory):
  """Keeps nothing, and goes along with process 0, which keeps the study."""

  table = None

  def check(self, variants: Mapping[str, ConfigDict]) -> None:
    """Leaves it to process 0 to say what cannot be kept."""

  @contextlib.contextmanager
  def open(self, run: StudyRun) -> Iterator[Kept]:
    """Yields a run of which process 0 knows what is done."""
    settings, checkpoints = run.variant.checkpoint, None
    if settings.every_rounds:
      checkpoints = Checkpoints(None, settings.every_rounds, settings.keep)
    yield Kept([], lambda row: None, checkpoints)


class OnDisk:
  """Keeps a study in a work directory.

  The files are those that `fps_jax.results.report` reads, with `config.json`
  (the whole config; each variant's folder has its own, resolved, and
  `model.json`, what its models are made for), `environment.json` (versions,
  device, code, command line; `resumed` holds the same of every time that the
  study went on) and `source` (copies of the user's own code).

  Attributes:
    profile: folder for a trace of a round; None for no trace.
    table: what the study came to, for a terminal; None before its end.
  """

  def __init__(
    self, workdir: pathlib.Path, argv: Sequence[str], options: Options
  ) -> None:
    """Touches no file yet.

    Args:
      workdir: created if need be; empty, or of the same config.
      argv: the command line, for the record.
      options: of the command line.
    """
    self._workdir, self._argv, self._options = workdir, argv, options
    self._config = ConfigDict()
    self._record: Record | None = None
    self.profile = workdir / 'profile' if options.profile else None
    self.table: RenderableType | None = None

  def check(self, variants: Mapping[str, ConfigDict]) -> None:
    """Raises ValueError if one cannot be kept here, or with what it needs.

    Such as if it cannot name a folder, or begins with a model of this folder,
    which `overwrite` would remove.
    """
    if self._options.tensorboard:
      tensorboard.require()
    extras.require_figures()
    if any(each.checkpoint.every_rounds for each in variants.values()):
      extras.require_checkpoints()
    for name in variants:
      files.local(self._workdir / name, f'variant {name}')
    for variant in variants.values():
      _check_begins_elsewhere(variant, self._workdir)

  @contextlib.contextmanager
  def hold(
    self, config: ConfigDict, variants: Mapping[str, ConfigDict]
  ) -> Iterator[dict[str, Any]]:
    """Yields what the process runs on, which has the folder to itself."""
    overwrite = self._options.overwrite
    with workdirs.hold(self._workdir, config, overwrite) as before:
      self._config = config
      record = Record.now(self._workdir, self._argv, self._options, variants)
      if before != config.num_rounds:
        record = record._replace(rounds_before=before)
      self._record = record
      yield self._record.environment

  def begin(self, runs: Sequence[StudyRun], warnings: Sequence[str]) -> None:
    """Writes what the study is and runs on."""
    assert self._record is not None  # `hold` comes first.
    if self._record.rounds_before is not None:
      for run in runs:
        other_rounds.check(
          run, self._workdir / run.folder, self._record.rounds_before
        )
    if self._options.overwrite:
      workdirs.empty(self._workdir)
    first = {run.name: run for run in reversed(runs)}
    self._record.write(
      self._workdir,
      self._config,
      {run.name: first[run.name].variant for run in runs},
    )
    for name, run in first.items():
      workdirs.write_json(
        self._workdir / name / 'model.json',
        run.simulation.accounts.model.to_json(),
      )
    kept_warnings.keep(self._workdir, warnings)

  @contextlib.contextmanager
  def open(self, run: StudyRun) -> Iterator[Kept]:
    """Yields the rows of a run and its checkpoints; its files are open."""
    folder, settings = self._workdir / run.folder, run.variant.checkpoint
    path = folder / 'metrics.jsonl'
    with contextlib.ExitStack() as stack:
      checkpoints, rounds_done = None, 0
      if _is_done(path, run.variant, folder / 'checkpoints'):
        rounds_done = count_rounds(path)
      elif settings.every_rounds:
        checkpoints = stack.enter_context(
          Checkpoints(
            folder / 'checkpoints', settings.every_rounds, settings.keep
          )
        )
        rounds_done = checkpoints.last_round
      keep_rounds(path, rounds_done)
      rows = forget_evaluations(
        path, _every_rounds(run.variant), run.variant.num_rounds
      )
      writer = stack.enter_context(MetricsWriter(path, takes_own=True))
      write_events = stack.enter_context(
        tensorboard.writing(self._events(run.folder))
      )

      def write(row: MetricsRow) -> None:
        writer.write(row)
        write_events(row)

      yield Kept(rows, write, checkpoints)

  def _events(self, folder: pathlib.Path) -> pathlib.Path | None:
    if not self._options.tensorboard:
      return None
    return self._workdir / 'tensorboard' / folder

  def finish(self, variants: Sequence[str]) -> None:
    """Writes the report of all runs."""
    # Matplotlib comes with it: not before the runs, which leave it the memory.
    from fps_jax.results import report

    self.table = report.write_report(
      self._workdir,
      variants,
      self._config.baseline or variants[0],
      target_accuracy=self._config.target_accuracy,
    )


def _every_rounds(variant: ConfigDict) -> dict[str, int]:
  """Returns the rounds between evaluations, by column."""
  by_client = variant.eval.by_client_every_rounds
  return {
    **dict.fromkeys(EVALUATED, variant.eval.every_rounds),
    **(dict.fromkeys(BY_CLIENT, by_client) if by_client else {}),
  }


def _check_begins_elsewhere(variant: ConfigDict, workdir: pathlib.Path) -> None:
  """Raises ValueError if a run begins with a model in the work directory."""
  if not variant.model.init_from:
    return
  for seed in variant.seeds:
    folder = initial_folder(variant, seed)
    if folder.resolve().is_relative_to(workdir.resolve()):
      raise ValueError(
        f'model.init_from={files.show(folder)} is in the work directory '
        f'{files.show(workdir)} itself, of which nothing may be left: give '
        'another --workdir'
      )


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
