"""Runs a config's job: python launch.py --config=experiments/NAME.py."""

import contextlib
import datetime
import os
import re
import sys
import tempfile
from collections.abc import Iterator

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from fps_jax import jobs, startup
from fps_jax.options import Options
from fps_jax.study import StudyError

_CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'Config file, with its arguments after a colon: FILE.py:seeds=3,tiny. Any '
  'field can be overridden: --config.client.learning_rate=0.05.',
  lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
  'workdir',
  None,
  'New folder for everything the study writes. Default: '
  'runs/<config name>-<time>.',
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


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the command line; a mistake in it ends the program in one line."""
  try:
    rest = flags.FLAGS(argv)
    # A config file that could not be loaded says so at the first look.
    _ = _CONFIG.value.name
    return rest
  except flags.Error as error:
    # Of an error inside a config file, the last line says what is wrong.
    sys.exit(f'error: {str(error).strip().splitlines()[-1].strip()}')
  except (AttributeError, KeyError) as error:
    # ml_collections quotes the name, and its hint, several times over.
    hint = re.sub(r'[\\\'"]', '', str(error).replace('\\n', '; '))
    sys.exit(f'error: the config has no field {hint} (see fps_jax/config.py)')
  except OSError as error:
    sys.exit(f'error: {" ".join(str(error).split())}')


def main(argv: list[str]) -> None:
  """Runs the study that the flags describe."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {argv[1:]}')
  if not flags.FLAGS['verbosity'].present:
    # At absl's default, INFO, JAX announces every accelerator it lacks.
    logging.set_verbosity(logging.WARNING)
  config = _CONFIG.value
  time = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
  workdir = _WORKDIR.value or f'runs/{config.name}-{time}'
  options = Options(_TFDS_DATA_DIR.value, _PROFILE.value)
  _prepare()
  try:
    with _silent_unless_first() as folder:
      jobs.run(config, folder or workdir, sys.argv, options)
  except StudyError as error:
    sys.exit(f'error: {error}')


def _prepare() -> None:
  """Does everything that must precede JAX's first look at its devices."""
  startup.share_heap()
  startup.use_all_cores()
  startup.keep_compiled(_COMPILATION_CACHE.value)
  try:
    startup.Processes(
      _DISTRIBUTED.value,
      _COORDINATOR.value,
      _NUM_PROCESSES.value,
      _PROCESS_ID.value,
    ).join()
  except ValueError as error:
    sys.exit(f'error: {error}')


@contextlib.contextmanager
def _silent_unless_first() -> Iterator[str | None]:
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
    yield folder


if __name__ == '__main__':
  flags.mark_flag_as_required('config')
  app.run(main, flags_parser=parse_flags)
