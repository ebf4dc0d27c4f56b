"""What `launch.py` can run: a config's `job` names one of these."""

import json
import pathlib
import pkgutil
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
from absl.flags import FlagValues
from ml_collections import ConfigDict

from fps_jax.core import extras, files
from fps_jax.jobs import cluster
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError


class Job(Protocol):
  """Does what a config asks for."""

  def __call__(
    self,
    config: ConfigDict,
    workdir: str | pathlib.Path,
    argv: Sequence[str],
    options: Options,
    /,
  ) -> None:
    """Runs the job.

    Args:
      config: of the job.
      workdir: where all that it writes goes; created if need be.
      argv: the command line, for the record.
      options: of the command line.

    Raises:
      StudyError: if it cannot run or go on; the message is for the user.
    """


class Entry(NamedTuple):
  """Where a job is, and what `launch.py` has to know of it before.

  Attributes:
    place: of a `Job`, `module:function`. Imported when asked for, since some
      hold what only they need, such as Matplotlib, and measure their own
      memory.
    is_study: whether it goes on where it was, and several processes may run it
      together: all of them its study, by the same config, and process 0 what is
      made of that.
  """

  place: str
  is_study: bool = False


_STUDY = 'fps_jax.jobs.study:run_study'
JOBS = {
  'study': Entry(_STUDY, is_study=True),
  'sharing_throughput': Entry('fps_jax.jobs.sharing_throughput.job:run'),
  'poisoning': Entry('fps_jax.jobs.poisoning.job:run', is_study=True),
  'inversion': Entry('fps_jax.jobs.inversion.job:run'),
  'tradeoff': Entry('fps_jax.jobs.tradeoff.job:run', is_study=True),
  'throughput': Entry('fps_jax.jobs.throughput.job:run'),
  'planning': Entry('fps_jax.jobs.planning.job:run'),
}
_COMPILE_FOR = 'fps_jax.jobs.compile_for.job:run'
_DEPLOY = 'fps_jax.deploy.local:run'
_DEFAULTS = Options()


def deploy(
  arguments: Sequence[str], workdir: str | pathlib.Path, values: FlagValues
) -> None:
  """Runs a study between parties that are started on this machine.

  Args:
    arguments: the command line of the study, without its program.
    workdir: as of `Job`.
    values: its flags.

  Raises:
    StudyError: if it cannot run or go on.
  """
  try:
    extras.require('flwr', 'deploy', '--deploy')
    run_here = pkgutil.resolve_name(_DEPLOY)
    folder = files.local(workdir, '--workdir')
    run_here(arguments, folder, values.client_processes)
  except (ValueError, OSError) as error:
    raise StudyError(str(error)) from error


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options = _DEFAULTS,
) -> None:
  """Runs the job that a config names.

  Raises:
    StudyError: if there is no such job, or it cannot run or go on.
  """
  name = config.get('job')
  if name not in JOBS:
    raise StudyError(f'job={name!r} is not one of {sorted(JOBS)}')
  if options.compile_for is not None:
    if not JOBS[name].is_study:
      raise StudyError(
        f'--compile_for={options.compile_for} compiles the runs of a study: '
        f'job={name!r} has none'
      )
    pkgutil.resolve_name(_COMPILE_FOR)(config, workdir, argv, options)
    return
  if jax.process_count() > 1 and not JOBS[name].is_study:
    raise StudyError(
      f'job={name!r} runs in one process, not in {jax.process_count()}: '
      'leave out --coordinator and --distributed'
    )
  place, reports = JOBS[name].place, not jax.process_index()
  if not reports:
    # What a job makes of a study, process 0 does, which has its files.
    place = _STUDY
  if options.only_run:
    # A job that is made of a study has nothing to say of one run.
    place, reports = _STUDY, False
    try:
      config = cluster.only_run(config, options.only_run)
    except ValueError as error:
      raise StudyError(str(error)) from error
  job: Job = pkgutil.resolve_name(place)
  try:
    folder = files.local(workdir, '--workdir')
    with files.naming(folder):
      job(config, folder, argv, options)
      if options.prints_json and reports and JOBS[name].is_study:
        report = json.loads(files.read_text(folder / 'report.json'))
        print(json.dumps(report))
  except (files.PathError, OSError) as error:
    raise StudyError(str(error)) from error
