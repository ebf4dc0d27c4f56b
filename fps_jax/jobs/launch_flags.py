"""The flags of the command line: what they are, their help, what is mistaken.

Neither JAX nor what a job needs is imported for them: help comes at once.
"""

import pathlib
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags
from ml_collections import config_flags

from fps_jax.config import command_line, experiments
from fps_jax.core.nearest import nearest

_EXAMPLES = (
  ('--config=mnist', 'four methods on the bundled sample of MNIST'),
  ('--config=mnist:tiny', 'the same, cut down to a smoke test of seconds'),
  ('--config=mnist:seeds=3 --sweep=pruning.sparsity=0.5,0.9', ''),
  ('--config=my_study.py --config.client.learning_rate=0.05', ''),
  ('--report runs/mnist-*', 'one page of HTML about what ran'),
  ('--list', 'configs, methods, models, attacks and all else by name'),
)


class Flag(NamedTuple):
  """A flag of the command line.

  Attributes:
    takes: what its value is, for the help; '' of one that is on or off.
    about: what it does.
    default: if it is not given.
    is_many: whether it may be given several times.
  """

  takes: str
  about: str
  default: Any = None
  is_many: bool = False

  def define(self, name: str, values: flags.FlagValues) -> None:
    """Adds it to some flags."""
    if self.is_many:
      define: Any = flags.DEFINE_multi_string
    elif not self.takes:
      define = flags.DEFINE_bool
    elif self.takes == 'N':
      define = flags.DEFINE_integer
    else:
      define = flags.DEFINE_string
    define(name, self.default, self.about, flag_values=values)

  def usage(self, name: str) -> str:
    """Returns how it is written."""
    return f'--{name}={self.takes}' if self.takes else f'--{name}'


_CONFIG = 'config'
_CLUSTERS = ('slurm', 'local')
# What has no meaning where other processes run the study.
_ALONE = (
  'cluster',
  'compile_for',
  'coordinator',
  'distributed',
  'json',
  'only_run',
  'profile',
)
GROUPS: dict[str, dict[str, Flag]] = {
  'What runs': {
    _CONFIG: Flag(
      'NAME|FILE.py',
      'Config: the name of one that comes with the package (see --list) or a '
      'file, with its arguments after a colon: mnist:seeds=3,tiny. Any field '
      'can be overridden: --config.client.learning_rate=0.05.',
    ),
    'sweep': Flag(
      'FIELD=VALUE,VALUE',
      'Run every variant with each value. Several: with all combinations. A '
      'variant that reads no swept field runs once.',
      (),
      is_many=True,
    ),
    'tfds_data_dir': Flag(
      'DIR',
      'Folder of prepared TFDS data sets. Default: $TFDS_DATA_DIR, else where '
      'TFDS keeps them.',
    ),
  },
  'What is written': {
    'workdir': Flag(
      'DIR',
      'Folder for everything the job writes. Given that of the same config, a '
      'study goes on where it was. Of several processes process 0 alone has '
      'one. Default: runs/<config name>-<time>.',
    ),
    'overwrite': Flag(
      '', 'Remove the study that is in --workdir first.', False
    ),
    'resume_changed': Flag(
      '',
      'Go on with the study in --workdir although its config file, this '
      'package or a package such as JAX has changed; environment.json records '
      'it.',
      False,
    ),
    'tensorboard': Flag(
      '',
      'Write every round for TensorBoard, too, to WORKDIR/tensorboard. Needs '
      "pip install 'fps_jax[tensorboard]'.",
      False,
    ),
    'profile': Flag(
      '',
      'Write a JAX trace of one round, the second if there is one, to '
      'WORKDIR/profile. Its operations bear the names of phases.',
      False,
    ),
    'json': Flag(
      '',
      'End the output with a line of JSON: what results.json holds, or '
      'report.json of a study.',
      False,
    ),
  },
  'Looking at things': {
    'list': Flag(
      '',
      'Print what there is to choose from, a line each, and end; needs no '
      'config. With one, what it registers is there, too.',
      False,
    ),
    'report': Flag(
      'DIR',
      'Instead of running: make one page of HTML about these work directories '
      'of studies, finished or not: --report DIR DIR...',
      is_many=True,
    ),
    'report_file': Flag(
      'FILE', 'With --report: the page. Default: report.html in the first DIR.'
    ),
  },
  'Machines': {
    'compile_for': Flag(
      'DEVICES',
      'Instead of running: compile everything for devices that need not be '
      'there, and say what it takes of them. DEVICES is cuda:KIND, '
      'cuda:KIND:NUMBER, cuda:KIND:PROCESSESxNUMBER or tpu:KIND:TOPOLOGY, such '
      'as cuda:h200, cuda:h200:8, cuda:h200:2x8, tpu:v5e:2x4. Needs pip '
      "install 'fps_jax[cuda]' or 'fps_jax[tpu]'.",
    ),
    'cluster': Flag(
      'slurm|local',
      'Run each variant under each seed of a study as a job of its own, of '
      'Slurm or of this machine; wait for them, and report. Needs pip install '
      "'fps_jax[cluster]'.",
    ),
    'cluster_args': Flag(
      'NAME=VALUE,...',
      'With --cluster: what each job is to have, such as timeout_min=60, '
      'mem_gb, cpus_per_task, gpus_per_node; partition and all else that '
      'sbatch takes; and max_jobs, how many are handed in at a time.',
      (),
      is_many=True,
    ),
    'compilation_cache': Flag(
      'DIR',
      'Folder that keeps compiled programs for the next run; empty to keep '
      'none.',
      '~/.cache/fps_jax',
    ),
    'deploy': Flag(
      '',
      'Run the study between real parties, aggregation servers and clients, '
      'which are started as processes of this machine and talk over Flower. '
      "Needs pip install 'fps_jax[deploy]'.",
      False,
    ),
    'client_processes': Flag(
      'N', 'With --deploy: processes that hold the clients.', 2
    ),
    'seeded_draws': Flag(
      '',
      'With --deploy: draw keys and roundings from the seed, as a simulation '
      'does. It hides nothing.',
      False,
    ),
    'distributed': Flag(
      '',
      'Run as one of several processes that JAX finds in the environment of '
      'Slurm, Open MPI, GKE or a TPU pod.',
      False,
    ),
    'coordinator': Flag('HOST:PORT', 'Instead: address of process 0.'),
    'num_processes': Flag(
      'N', 'With --coordinator: how many processes there are.'
    ),
    'process_id': Flag(
      'N', 'With --coordinator: number of this process, from 0.'
    ),
    'timeout': Flag(
      'N',
      'With --coordinator or --distributed: seconds to wait at the start for '
      'all processes to come.',
      60,
    ),
  },
}
# For jobs of --cluster alone.
_ONLY_RUN = Flag('VARIANT/seed_N', 'Do one run of a study that is being run.')
# Flags that ask for help, of which the last has absl's own, too.
_HELP = ('?', 'h', 'help', 'helpshort')


def define(values: flags.FlagValues, argv: Sequence[str]) -> None:
  """Adds all flags to `values`; `argv` is the command line they will be of."""
  for group in GROUPS.values():
    for name, flag in group.items():
      if name != _CONFIG:
        flag.define(name, values)
  _ONLY_RUN.define('only_run', values)
  config_flags.DEFINE_config_file(
    _CONFIG,
    None,
    GROUPS['What runs'][_CONFIG].about,
    lock_config=True,
    flag_values=values,
    sys_argv=list(argv),
  )


def asks_for_help(argv: Sequence[str]) -> bool:
  """Returns whether a command line asks what there is."""
  return any(
    argument.startswith('-') and argument.lstrip('-') in _HELP
    for argument in argv[1:]
  )


def help_text(program: str) -> str:
  """Returns examples, and what every flag is, group by group."""
  width = min(shutil.get_terminal_size().columns, 100)
  lines = ['Runs a study of federated learning, and reports on it.', '']
  lines += ['Examples:']
  for command, about in _EXAMPLES:
    lines.append(f'  {program} {command}' + (f'  # {about}' if about else ''))
  for title, group in GROUPS.items():
    lines += ['', f'{title}:']
    for name, flag in group.items():
      lines.append(f'  {flag.usage(name)}')
      lines += textwrap.wrap(
        flag.about, width, initial_indent=' ' * 6, subsequent_indent=' ' * 6
      )
  lines += ['', '--helpfull has the flags of absl, too.']
  return '\n'.join(lines)


def resolve(argv: Sequence[str]) -> list[str]:
  """Returns a command line whose config is a file where it was a name.

  Raises:
    ValueError: if there is no such file.
  """
  resolved, is_given = list(argv), False
  for i, argument in enumerate(argv[1:], start=1):
    if argument == '--':
      break
    flag, equals, value = argument.partition('=')
    if flag not in ('--config', '-config'):
      continue
    if is_given:
      raise ValueError('--config is given twice: give one')
    is_given = True
    if equals:
      resolved[i] = f'{flag}={_find(value)}'
    elif i + 1 < len(argv):
      resolved[i + 1] = _find(argv[i + 1])
  return resolved


def _find(given: str) -> str:
  """Finds a config file, and lets it import what is beside it."""
  found = experiments.find(given)
  parent = pathlib.Path(found.partition(':')[0]).absolute().parent
  if parent != experiments.folder() and str(parent) not in sys.path:
    sys.path.append(str(parent))
  return found


def meant_by(stray: str) -> str:
  """Returns what was probably meant by an argument that is no flag, or ''.

  >>> meant_by('client.learning_rate=0.1')
  'did you mean --config.client.learning_rate=0.1?'
  >>> meant_by('mnist:tiny')
  'did you mean --config=mnist:tiny?'
  """
  flag = _flag_of(stray)
  return f'did you mean {flag}?' if flag else ''


def _flag_of(stray: str) -> str:
  from fps_jax.config.sections import fields_of

  name, equals, value = stray.partition('=')
  # A hyphen that a word processor has made longer.
  bare = re.sub(r'^[-\u2010-\u2015\u2212]+', '', name)
  known = {name for group in GROUPS.values() for name in group}
  if bare in known or bare.startswith('config.'):
    return f'--{bare}{equals}{value}'
  if equals and bare in fields_of(None):
    return f'--config.{bare}={value}'
  path = pathlib.Path(stray.partition(':')[0])
  if path.stem in experiments.names() or path.suffix == '.py':
    return f'--config={stray}'
  if path.is_dir():
    return f'--workdir={stray} or --report={stray}'
  if bare in ('tiny', 'methods'):
    return f'--config=NAME:{stray}'
  near = nearest(bare, known)
  return f'--{near}{equals}{value}' if near else ''


def parse(argv: list[str], values: flags.FlagValues) -> list[str]:
  """Parses a command line; a mistake in it ends the program in one line.

  Returns:
    What is no flag, after the program's name.
  """
  command_line.register_parsers()
  resolved = argv
  try:
    resolved = resolve(argv)
    rest = values(resolved)
    if values[_CONFIG].present:
      # A file that could not be loaded says so at the first look.
      _ = getattr(values.config, 'name', '')
      command_line.check_is_config(values.config)
  except SystemExit as error:
    # absl takes a request for help for a mistake.
    asked = {argument.lstrip('-').partition('=')[0] for argument in argv}
    sys.exit(0 if asked & {'helpfull', 'helpxml'} else error.code)
  except Exception as error:
    line = command_line.explain(error, resolved)
    if line is None:
      raise
    sys.exit(f'error: {line}')
  _check(values, rest)
  return rest


def _check(values: flags.FlagValues, rest: Sequence[str]) -> None:
  """Ends the program in a line unless the flags say one thing to do."""
  if len(rest) > 1 and not values.report:
    meant = meant_by(rest[1]) or f'see {pathlib.Path(rest[0]).name} --help'
    sys.exit(f'error: unexpected argument {rest[1]!r}: {meant}')
  if values.cluster not in (None, '', 'none', *_CLUSTERS):
    sys.exit(
      f'error: --cluster={values.cluster} must be one of {", ".join(_CLUSTERS)}'
    )
  if values.cluster_args and not values.cluster:
    sys.exit('error: --cluster_args needs --cluster=slurm or --cluster=local')
  for name in ('seeded_draws', 'client_processes'):
    if values[name].present and not values.deploy:
      sys.exit(f'error: --{name} needs --deploy')
  if values.deploy and (others := [n for n in _ALONE if values[n].value]):
    sys.exit(
      f'error: --deploy starts parties on this machine: leave out --{others[0]}'
    )
  if values.sweep and not values.config:
    sys.exit('error: --sweep needs a config to sweep over: give --config, too')
  if bool(values.config or values.list) == bool(values.report):
    sys.exit(
      'error: give --config=mnist to run it (or another config, or a file), '
      '--report=DIR to look at what ran, --list for what there is, or --help'
    )
