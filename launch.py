"""Runs a config's job: python launch.py --config=experiments/NAME.py."""

import datetime
import re
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from fps_jax import jobs
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
  try:
    jobs.run(config, workdir, sys.argv, _TFDS_DATA_DIR.value)
  except StudyError as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  flags.mark_flag_as_required('config')
  app.run(main, flags_parser=parse_flags)
