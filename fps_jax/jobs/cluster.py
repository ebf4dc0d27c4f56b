"""A study's runs as jobs of a cluster: every variant under every seed is one.

The process that is asked for it checks and builds the study as always, hands in
a job for each run that has rounds to go, waits for them all, and reports. A job
is the same command with `--only_run`: it does one run, from its last checkpoint
if there is one, in the same work directory.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from fps_jax.core import extras
from fps_jax.core.interruption import Ending, Interruption, StoppedError
from fps_jax.jobs.cluster_args import make_executor
from fps_jax.jobs.keeping import OnDisk
from fps_jax.jobs.options import Cluster
from fps_jax.jobs.recording import Record
from fps_jax.jobs.study_run import StudyRun
from fps_jax.results import workdir as workdirs
from fps_jax.results.metrics_file import count_rounds, is_finished
from fps_jax.results.tables import make_console

_FOLDER = 'cluster'
# What a log says of the end of a run; submitit adds its own.
_ERROR = re.compile(r'error: |(?!submitit\.|subprocess\.)[\w.]+Error: ')
_POLL_SECONDS = {'slurm': 5.0, 'local': 0.5}
# In which a job that is told to stop is waited for.
_LAST_SECONDS = 60.0


class _Job(NamedTuple):
  """A run, and the job that does it."""

  run: StudyRun
  handle: Any  # Of submitit.

  @property
  def log(self) -> pathlib.Path:
    """What the job printed to stderr."""
    return self.handle.paths.stderr


class OnCluster(OnDisk):
  """Keeps a study in a work directory, which jobs of a cluster fill."""

  def check(self, variants: Mapping[str, ConfigDict]) -> None:
    """Raises ValueError if no jobs can be handed in, besides `OnDisk.check`."""
    super().check(variants)
    extras.require('submitit', 'cluster', f'--cluster={self.cluster.kind}')
    if jax.process_count() > 1:
      raise ValueError(
        '--cluster has a job for each run: leave out --coordinator and '
        '--distributed'
      )
    if self.profile:
      raise ValueError(
        '--profile traces a run of this process: leave it out with --cluster'
      )
    with tempfile.TemporaryDirectory() as folder:
      make_executor(self.cluster, pathlib.Path(folder))

  def begin(self, runs: Sequence[StudyRun], warnings: Sequence[str]) -> None:
    """Writes what the study is, and has its runs done.

    Raises:
      ValueError: naming each job that did not do its run, and its log; once all
        jobs have ended.
      StoppedError: if the study was asked to stop; the jobs are told so.
    """
    super().begin(runs, warnings)
    left = [run for run in runs if not self._is_done(run)]
    failed = _Jobs(self, left).wait()
    if failed:
      raise ValueError('\n'.join(map(self._failure, failed)))

  @property
  def cluster(self) -> Cluster:
    """Where jobs are handed in."""
    assert self._options.cluster is not None
    return self._options.cluster

  @property
  def interruption(self) -> Interruption | None:
    """What may ask the study to stop."""
    return self._options.interruption

  def _is_done(self, run: StudyRun) -> bool:
    """Returns whether a run has nothing to go on with, by its files.

    Raises:
      ValueError: if a job of another launch is at work on it.
    """
    with workdirs.lock(self._workdir / run.folder), self.open(run):
      pass  # Rows without a checkpoint are gone now.
    return self.is_finished(run)

  def is_finished(self, run: StudyRun) -> bool:
    """Returns whether a run has all rows that it will have."""
    path = self._workdir / run.folder / 'metrics.jsonl'
    return is_finished(path, run.variant.num_rounds)

  def rounds_done(self, run: StudyRun) -> int:
    """Returns how far a run has come."""
    return count_rounds(self._workdir / run.folder / 'metrics.jsonl')

  def submit(self, run: StudyRun) -> _Job:
    """Hands in the job of a run.

    Raises:
      ValueError: if the cluster does not take it.
    """
    import submitit

    command = [*self.cluster.command, f'--only_run={run.folder}']
    try:
      handle = make_executor(self.cluster, self._workdir / _FOLDER).submit(
        submitit.helpers.CommandFunction(command)
      )
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
      reason = getattr(error, 'stderr', None) or error
      raise ValueError(
        f'--cluster={self.cluster.kind} takes no job '
        f'({" ".join(str(reason).split())})'
      ) from error
    return _Job(run, handle)

  def _failure(self, job: _Job) -> str:
    """Returns a line about a job that did not do its run."""
    rounds = f'{self.rounds_done(job.run)} of {job.run.variant.num_rounds}'
    said = ''
    with contextlib.suppress(OSError):
      lines = job.log.read_text(errors='replace').splitlines()
      errors = [line for line in lines if _ERROR.match(line)]
      said = f': {errors[-1].removeprefix("error: ")}' if errors else ''
    return (
      f'{job.run.title}: job {job.handle.job_id} ended after {rounds} rounds'
      f'{said}; its log is {job.log}'
    )


class _Jobs:
  """Jobs that are handed in, and waited for."""

  def __init__(self, keeper: OnCluster, runs: Sequence[StudyRun]) -> None:
    self._keeper, self._left = keeper, list(runs)
    self._console = make_console()
    self._total = len(runs)
    self._running: list[_Job] = []
    self._failed: list[_Job] = []
    self._kind = keeper.cluster.kind
    most = {'slurm': len(runs), 'local': os.cpu_count() or 1}[self._kind]
    self._most = keeper.cluster.args.get('max_jobs') or most
    self._missing: set[str] = set()

  def wait(self) -> list[_Job]:
    """Returns the jobs that failed, once all have ended."""
    if not self._total:
      return []
    try:
      with self._console.status('') as status:
        while self._left or self._running:
          self._hand_in()
          self._look()
          status.update(self._describe())
          self._sleep(_POLL_SECONDS[self._kind])
    except BaseException:
      self._cancel()
      raise
    if self._keeper.interruption:
      self._keeper.interruption.settle()
    return self._failed

  def _hand_in(self) -> None:
    while self._left and len(self._running) < self._most:
      job = self._keeper.submit(self._left.pop(0))
      self._running.append(job)
      self._say(f'{job.run.title}: job {job.handle.job_id}, log {job.log}')

  def _look(self) -> None:
    """Takes note of jobs that have ended."""
    for job in self._ended():
      self._running.remove(job)
      if self._keeper.is_finished(job.run):
        self._say(f'{job.run.title}: done')
      else:
        self._failed.append(job)
        self._say(f'{job.run.title}: failed, see {job.log}')

  def _ended(self) -> list[_Job]:
    if self._kind == 'local':
      return [job for job in self._running if job.handle.done()]
    ended = [
      job for job in self._running if job.handle.paths.result_pickle.exists()
    ]
    # One that is killed leaves no result, and not all clusters keep accounts.
    queued = _queued()
    if queued is None:
      return ended
    gone = {job.handle.job_id for job in self._running} - queued
    ended += [
      job
      for job in self._running
      if job not in ended and job.handle.job_id in gone & self._missing
    ]
    self._missing = gone
    return ended

  def _describe(self) -> str:
    rounds = sum(self._keeper.rounds_done(job.run) for job in self._running)
    done = self._total - len(self._left) - len(self._running)
    return (
      f'{done} of {self._total} jobs done, {len(self._running)} handed in, '
      f'which have done {rounds} rounds'
    )

  def _sleep(self, seconds: float) -> None:
    """Waits, and no longer than until the study is asked to stop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
      asked = self._keeper.interruption
      if asked and asked.is_asked():
        raise StoppedError(
          f'with {len(self._running)} jobs, which are cancelled and keep their '
          'checkpoints'
        )
      time.sleep(0.1)

  def _cancel(self) -> None:
    """Cancels all jobs, and waits for their ends for a while."""
    for job in self._running:
      job.handle.cancel(check=False)
    end = time.monotonic() + _LAST_SECONDS
    while self._running and time.monotonic() < end:
      for job in self._ended():
        self._running.remove(job)
      time.sleep(0.5)

  def _say(self, line: str) -> None:
    self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _queued() -> set[str] | None:
  """Returns the numbers of the user's jobs in Slurm; None if it is silent."""
  command = ['squeue', '--noheader', '--me', '--format=%i']
  try:
    done = subprocess.run(
      command, capture_output=True, check=True, text=True, timeout=60
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return set(done.stdout.split())


class OneRun(OnDisk):
  """Keeps one run of a study whose work directory another process holds."""

  @contextlib.contextmanager
  def hold(
    self, config: ConfigDict, variants: Mapping[str, ConfigDict]
  ) -> Iterator[dict[str, Any]]:
    """Yields what the process runs on, which has the run to itself."""
    with workdirs.lock(self._run_folder):
      self._record = Record.now(
        self._workdir, self._argv, self._options, variants
      )
      yield self._record.environment

  def begin(self, runs: Sequence[StudyRun], warnings: Sequence[str]) -> None:
    """Writes what this run runs on."""
    assert self._record is not None  # `hold` comes first.
    workdirs.write_json(
      self._run_folder / 'environment.json', self._record.environment
    )

  def finish(self, variants: Sequence[str]) -> None:
    """Writes nothing: the study's process reports."""

  @property
  def _run_folder(self) -> pathlib.Path:
    assert self._options.only_run is not None
    return self._workdir / self._options.only_run


def only_run(config: ConfigDict, folder: str) -> ConfigDict:
  """Returns the config of a study that is one of its runs.

  Args:
    config: of the whole study.
    folder: of the run, `VARIANT/seed_SEED`.

  Raises:
    ValueError: if the study has no such run.
  """
  name, _, seed = folder.rpartition('/seed_')
  names = [*config.variants] or [config.name]
  if name not in names or seed not in map(str, config.seeds):
    raise ValueError(f'--only_run={folder} is none of the runs of this study')
  one = config.copy_and_resolve_references()
  with one.unlocked():
    one.seeds = (int(seed),)
    one.baseline = ''
    if config.variants:
      overrides = config.variants.to_dict()[name]
      one.variants = ConfigDict(sort_keys=False, allow_dotted_keys=True)
      one.variants.update({name: overrides})
  return one


def end_with_parent(ending: Ending) -> None:
  """Ends this process once that which started it has ended."""
  parent = os.getppid()

  def watch() -> None:
    while os.getppid() == parent:
      time.sleep(1.0)
    ending.now('error: the process that started this run has ended', 1)

  threading.Thread(target=watch, daemon=True).start()
