"""Runs a config's job: python launch.py --config=experiments/NAME.py."""

from fps_jax.core import interruption

if __name__ == '__main__':
  # Importing JAX takes seconds.
  interruption.Interruption().install(interruption.Ending())

import contextlib
import datetime
import os
import pathlib
import shlex
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from fps_jax.config import command_line, sweep
from fps_jax.core import environment, startup
from fps_jax.core.interruption import Ending, Interruption, StoppedError
from fps_jax.core.peers import Peers
from fps_jax.jobs import agreement, listing
from fps_jax.jobs import run as jobs
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError

_CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'Config file, with its arguments after a colon: FILE.py:seeds=3,tiny. Any '
  'field can be overridden: --config.client.learning_rate=0.05.',
  lock_config=True,
)
_SWEEP = flags.DEFINE_multi_string(
  'sweep',
  [],
  'FIELD=VALUE,VALUE: run every variant with each value. Several: with all '
  'combinations.',
)
_REPORT = flags.DEFINE_multi_string(
  'report',
  None,
  'Instead of running: make one page of HTML about these work directories of '
  'studies, finished or not: --report DIR DIR...',
)
_REPORT_FILE = flags.DEFINE_string(
  'report_file',
  None,
  'With --report: the page. Default: report.html in the first folder.',
)
_WORKDIR = flags.DEFINE_string(
  'workdir',
  None,
  'Folder for everything the study writes. Given that of the same config, the '
  'study goes on where it was. Default: runs/<config name>-<time>.',
)
_OVERWRITE = flags.DEFINE_bool(
  'overwrite', False, 'Remove the study that is in --workdir first.'
)
_RESUME_CHANGED = flags.DEFINE_bool(
  'resume_changed',
  False,
  'Go on with the study in --workdir although its config file, this package or '
  'a package such as JAX has changed; environment.json records it.',
)
_TFDS_DATA_DIR = flags.DEFINE_string(
  'tfds_data_dir',
  None,
  'Folder of prepared TFDS data sets. Default: $TFDS_DATA_DIR, else where TFDS '
  'keeps them.',
)
_PROFILE = flags.DEFINE_bool(
  'profile',
  False,
  'Write a JAX trace of one round, the second if there is one, to '
  'WORKDIR/profile. Its operations bear the names of phases.',
)
_TENSORBOARD = flags.DEFINE_bool(
  'tensorboard',
  False,
  'Write every round for TensorBoard, too, to WORKDIR/tensorboard. Needs '
  "pip install '.[tensorboard]'.",
)
_LIST = flags.DEFINE_bool(
  'list',
  False,
  'Print what there is to choose from, a line each, and end; needs no config. '
  'With one, what it registers is there, too.',
)
_COMPILATION_CACHE = flags.DEFINE_string(
  'compilation_cache',
  '~/.cache/fps_jax',
  'Folder that keeps compiled programs for the next run; empty to keep none.',
)
_DISTRIBUTED = flags.DEFINE_bool(
  'distributed',
  False,
  'Run as one of several processes that JAX finds in the environment of Slurm, '
  'Open MPI, GKE or a TPU pod.',
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'Instead: HOST:PORT of process 0.'
)
_NUM_PROCESSES = flags.DEFINE_integer(
  'num_processes', None, 'With --coordinator: how many processes there are.'
)
_PROCESS_ID = flags.DEFINE_integer(
  'process_id', None, 'With --coordinator: number of this process, from 0.'
)
_TIMEOUT = flags.DEFINE_integer(
  'timeout',
  60,
  'With --coordinator or --distributed: seconds to wait at the start for all '
  'processes to come.',
)
# In which what another process says of its end arrives.
_WORD_SECONDS = 1.0
# Flags at which absl prints others and ends.
_HELP = {'?', 'help', 'helpshort', 'helpfull', 'helpxml'}


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the command line; a mistake in it ends the program in one line."""
  command_line.register_parsers()
  try:
    rest = flags.FLAGS(argv)
    if flags.FLAGS['config'].present:
      # A file that could not be loaded says so at the first look.
      _ = getattr(_CONFIG.value, 'name', '')
      command_line.check_is_config(_CONFIG.value)
  except SystemExit as error:
    # absl takes a request for help for a mistake.
    asked = {argument.lstrip('-').partition('=')[0] for argument in argv}
    sys.exit(0 if asked & _HELP else error.code)
  except (flags.Error, AttributeError, KeyError, OSError, ValueError) as error:
    sys.exit(f'error: {command_line.explain(error, argv)}')
  if _SWEEP.value and not _CONFIG.value:
    sys.exit('error: --sweep needs a config to sweep over: give --config, too')
  is_asked = bool(_CONFIG.value or _LIST.value)
  if is_asked == bool(_REPORT.value):
    sys.exit(
      'error: give --config=experiments/mnist.py to run it, --report=DIR to '
      'look at what ran, or --list for what there is'
    )
  return rest


def main(argv: list[str]) -> None:
  """Runs the study that the flags describe, or reports on others."""
  ending, stopping = Ending(), Interruption()
  stopping.install(ending)
  if _REPORT.value:
    _report([*_REPORT.value, *argv[1:]])
    return
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {argv[1:]}')
  if _LIST.value:
    print(listing.text(pathlib.Path(__file__).parent / 'experiments'), end='')
    return
  if not flags.FLAGS['verbosity'].present:
    # At absl's default, INFO, JAX announces every accelerator it lacks.
    logging.set_verbosity(logging.WARNING)
  config = _CONFIG.value
  try:
    sweep.expand(config, _SWEEP.value)
  except ValueError as error:
    sys.exit(f'error: {error}')
  now = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
  workdir = _WORKDIR.value or f'runs/{config.name}-{now}'
  peers = _prepare(ending)
  is_alone = jax.process_count() == 1
  stopping.advice = _advice(config.job, workdir, is_alone)
  options = Options(
    _TFDS_DATA_DIR.value,
    profile=_PROFILE.value,
    overwrite=_OVERWRITE.value,
    tensorboard=_TENSORBOARD.value,
    resume_changed=_RESUME_CHANGED.value,
    config_file=_config_file(),
    # Of several processes none can stop between rounds that the others run.
    interruption=stopping if is_alone else None,
  )
  try:
    _compare(config, options)
    with _silent_unless_first(ending) as folder:
      jobs.run(config, folder or workdir, sys.argv, options)
  except StoppedError as stopped:
    print(stopping.describe(str(stopped)), file=sys.stderr)
    sys.exit(stopping.exit_code)
  except Exception as error:
    if is_alone and not isinstance(error, StudyError):
      raise
    _fail(error, ending, peers)
  if peers:
    peers.finish()


def _advice(job: str, workdir: str, is_alone: bool) -> str:
  """Returns what to do after the job was stopped."""
  if not is_alone:
    return (
      'nothing goes on from here, as several processes keep no checkpoints: '
      'begin anew in another --workdir'
    )
  if job not in jobs.JOBS or not jobs.JOBS[job].is_study:
    return f'this job does not go on: begin anew, not in {workdir}'
  command = list(sys.orig_argv)
  if _WORKDIR.value is None:
    command.append(f'--workdir={workdir}')
  if _OVERWRITE.value:
    command.append('--nooverwrite')
  return f'to go on: {shlex.join(command)}'


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
  named = config_flags.get_config_filename(flags.FLAGS['config'])
  return named.partition(':')[0]


def _report(folders: list[str]) -> None:
  # Matplotlib comes with it, which a study does without until its end.
  from fps_jax.results.html import page as html_page

  try:
    path = html_page.write(folders, _REPORT_FILE.value)
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')
  print(f'The report is in {path}')


def _prepare(ending: Ending) -> Peers | None:
  """Does everything that must precede JAX's first look at its devices."""
  startup.share_heap()
  startup.use_all_cores()
  startup.keep_compiled(_COMPILATION_CACHE.value)
  try:
    return startup.Processes(
      _DISTRIBUTED.value,
      _COORDINATOR.value,
      _NUM_PROCESSES.value,
      _PROCESS_ID.value,
      _TIMEOUT.value,
    ).join(ending)
  except ValueError as error:
    sys.exit(f'error: {error}')


@contextlib.contextmanager
def _silent_unless_first(ending: Ending) -> Iterator[str | None]:
  """Lets process 0 alone print and write; gives others a folder to forget."""
  if not jax.process_index():
    yield None
    return
  logging.set_verbosity(logging.ERROR)
  with (
    tempfile.TemporaryDirectory() as folder,
    open(os.devnull, 'w') as nowhere,
    contextlib.redirect_stdout(nowhere),
  ):
    ending.add(lambda _: shutil.rmtree(folder, ignore_errors=True))
    yield folder


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
