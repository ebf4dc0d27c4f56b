"""What the command line does: a job, a report, or a list of what there is."""

import contextlib
import datetime
import logging as python_logging
import os
import shlex
import sys
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from fps_jax.config import experiments, sweep
from fps_jax.core import environment, extras, startup
from fps_jax.core.interruption import Ending, Interruption, StoppedError
from fps_jax.core.over_jax import text_of_first
from fps_jax.core.peers import Peers
from fps_jax.jobs import agreement, cluster, cluster_args, launch_flags, listing
from fps_jax.jobs import run as jobs
from fps_jax.jobs.options import Cluster, Options
from fps_jax.jobs.study import StudyError

# In which what another process says of its end arrives.
_WORD_SECONDS = 1.0
_VALUES = flags.FLAGS


class _Formatter(python_logging.Formatter):
  """Warnings as people read them: neither time nor place in the code."""

  def format(self, record: python_logging.LogRecord) -> str:
    """Returns a record as a line that begins with what it is."""
    message = super().format(record)
    level = record.levelname.lower()
    return message if level == 'info' else f'{level}: {message}'


def main() -> None:
  """Runs what `sys.argv` asks for, and ends the process if it fails."""
  launch_flags.define(_VALUES, sys.argv)
  app.run(_run, flags_parser=lambda argv: launch_flags.parse(argv, _VALUES))


def _run(argv: list[str]) -> None:
  """Runs the study that the flags describe, or reports on others."""
  ending, stopping = Ending(), Interruption()
  stopping.advice = 'nothing has begun: give the same command again'
  stopping.install(ending)
  if _is_other(argv):
    return
  logging.get_absl_handler().setFormatter(_Formatter())
  if not _VALUES['verbosity'].present:
    # At absl's default, INFO, JAX announces every accelerator it lacks.
    logging.set_verbosity(logging.WARNING)
  config = _VALUES.config
  try:
    sweep.expand(config, _VALUES.sweep)
  except ValueError as error:
    sys.exit(f'error: {error}')
  workdir = _workdir(config.name)
  peers = _prepare(ending)
  is_alone = jax.process_count() == 1
  # Of all processes one knows where the study is kept.
  stopping.advice = text_of_first(_advice(config.job, workdir))
  if peers:
    peers.advice, stopping.agree = stopping.advice, peers.largest
  if _VALUES.only_run:
    cluster.end_with_parent(ending)
  options = Options(
    _VALUES.tfds_data_dir,
    compile_for=_VALUES.compile_for,
    profile=_VALUES.profile,
    overwrite=_VALUES.overwrite,
    tensorboard=_VALUES.tensorboard,
    resume_changed=_VALUES.resume_changed,
    prints_json=_VALUES.json,
    cluster=_cluster(workdir),
    only_run=_VALUES.only_run,
    config_file=_config_file(),
    # Processes that cannot agree on a round cannot stop after one.
    interruption=stopping if is_alone or peers else None,
  )
  try:
    _compare(config, options)
    with _silent_unless_first():
      jobs.run(config, workdir, sys.argv, options)
  except StoppedError as stopped:
    if peers:
      peers.finish()
    if not jax.process_index():
      print(stopping.describe(str(stopped)), file=sys.stderr)
    sys.exit(stopping.exit_code)
  except Exception as error:
    if is_alone and not isinstance(error, StudyError):
      raise
    _fail(error, ending, peers)
  if peers:
    peers.finish()


def _is_other(argv: list[str]) -> bool:
  """Does what is no run of this process; returns whether that was it."""
  if _VALUES.report:
    _report([*_VALUES.report, *argv[1:]])
  elif _VALUES.list:
    print(listing.text(experiments.folder()), end='')
  elif _VALUES.deploy:
    try:
      jobs.deploy(sys.argv[1:], _workdir(_VALUES.config.name), _VALUES)
    except StudyError as error:
      sys.exit(f'error: {error}')
  else:
    return False
  return True


def _workdir(name: str) -> str:
  """Returns where a config of this name is run."""
  now = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
  return _VALUES.workdir or f'runs/{name}-{now}'


def _cluster(workdir: str) -> Cluster | None:
  """Returns what runs are handed in to, as the command line has it."""
  if _VALUES.cluster in (None, '', 'none'):
    return None
  try:
    args = cluster_args.parse_args(_VALUES.cluster_args)
  except ValueError as error:
    sys.exit(f'error: {error}')
  command = [
    sys.executable,
    *sys.orig_argv[1:],
    f'--workdir={os.path.abspath(workdir)}',
    '--nooverwrite',
    '--nojson',
    '--cluster=none',
  ]
  return Cluster(_VALUES.cluster, args, command)


def _advice(job: str, workdir: str) -> str:
  """Returns what to do after the job was stopped."""
  if _VALUES.compile_for is not None:
    return f'nothing has run: begin anew, not in {workdir}'
  if _VALUES.only_run:
    return 'to go on: the command of the whole study'
  if job not in jobs.JOBS or not jobs.JOBS[job].is_study:
    return f'this job does not go on: begin anew, not in {workdir}'
  command = list(sys.orig_argv)
  if _VALUES.workdir is None:
    command.append(f'--workdir={workdir}')
  if _VALUES.overwrite:
    command.append('--nooverwrite')
  start = 'start all processes again, process 0 with '
  if jax.process_count() == 1:
    start = ''
  return f'to go on: {start}{shlex.join(command)}'


def _compare(config: ConfigDict, options: Options) -> None:
  """Raises StudyError unless all processes have the same config and code."""
  if jax.process_count() == 1:
    return
  try:
    with agreement.together() as facts:
      # It may add models and more, which the config only names.
      code = environment.user_code(options.config_file)
      about = environment.describe_environment(sys.argv, code)
      facts |= agreement.describe(config, about)
  except (ValueError, OSError) as error:
    raise StudyError(str(error)) from error


def _fail(error: Exception, ending: Ending, peers: Peers | None) -> NoReturn:
  """Ends with an error, of several processes for all of them."""
  line = f'error: {error}'
  is_agreed = isinstance(error.__cause__, agreement.RefusalError)
  if jax.process_count() > 1 and not is_agreed:
    # It may have come of the end of another, which is said better there.
    time.sleep(_WORD_SECONDS)
    if not isinstance(error, StudyError):
      traceback.print_exception(error)
    # JAX would wait for the others, and they for this one.
    ending.now(line, 1)
  if peers:
    peers.finish()
  sys.exit(line)


def _config_file() -> str:
  """Returns the path of the config file, without its arguments."""
  named = config_flags.get_config_filename(_VALUES['config'])
  return named.partition(':')[0]


def _report(folders: list[str]) -> None:
  try:
    extras.require_figures()
    # Matplotlib comes with it, which a study does without until its end.
    from fps_jax.results.html import page as html_page

    path = html_page.write(folders, _VALUES.report_file)
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')
  print(f'The report is in {path}')


def _prepare(ending: Ending) -> Peers | None:
  """Does everything that must precede JAX's first look at its devices."""
  startup.share_heap()
  startup.spare_collector()
  if _VALUES.compile_for is not None:
    startup.only_compile()
    return None
  startup.use_all_cores()
  startup.keep_compiled(_VALUES.compilation_cache)
  try:
    return startup.Processes(
      _VALUES.distributed,
      _VALUES.coordinator,
      _VALUES.num_processes,
      _VALUES.process_id,
      _VALUES.timeout,
    ).join(ending)
  except ValueError as error:
    sys.exit(f'error: {error}')


@contextlib.contextmanager
def _silent_unless_first() -> Iterator[None]:
  """Lets process 0 alone print."""
  if not jax.process_index():
    yield
    return
  logging.set_verbosity(logging.ERROR)
  with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere):
    yield
