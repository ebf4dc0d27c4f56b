"""What the jobs of a study are to have: `--cluster` and `--cluster_args`."""

import ast
import itertools
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from fps_jax.core.registry import is_number
from fps_jax.jobs.options import Cluster

# Of submitit, what is the same for all kinds.
_COMMON = (
  'name',
  'timeout_min',
  'mem_gb',
  'cpus_per_task',
  'gpus_per_node',
  'stderr_to_stdout',
)
_NUMBERS = ('timeout_min', 'mem_gb', 'cpus_per_task', 'gpus_per_node')
_ONE_PROCESS = ('nodes', 'tasks_per_node')
_A_YEAR = 365 * 24 * 60


def parse_args(texts: Sequence[str]) -> dict[str, Any]:
  """Returns what jobs are to have, of `NAME=VALUE,NAME=VALUE`.

  Values are Python's literals, or else words, in which a comma may stand.

  Raises:
    ValueError: if a text has no name or no value, or a name is given twice.

  >>> parse_args(['partition=a,b,timeout_min=60'])
  {'partition': 'a,b', 'timeout_min': 60}
  """
  found: dict[str, Any] = {}
  for part in itertools.chain(*(re.split(r',(?=\w+=)', t) for t in texts)):
    name, _, value = part.partition('=')
    if not name or not value:
      raise ValueError(f'--cluster_args={part} must be NAME=VALUE')
    if name in found:
      raise ValueError(f'--cluster_args={name} is given twice')
    try:
      found[name] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      found[name] = value
  return found


def make_executor(cluster: Cluster, folder: pathlib.Path) -> Any:
  """Returns what jobs are handed in to.

  Args:
    cluster: of which kind, and what each job is to have.
    folder: of the jobs' logs.

  Raises:
    ValueError: if there is no such cluster here, or it has no such jobs.
  """
  import submitit

  kind, args = cluster.kind, dict(cluster.args)
  for name in _ONE_PROCESS:
    if name in args:
      raise ValueError(
        f'--cluster_args={name}={args[name]}: a run is one process, leave it '
        'out'
      )
  if kind == 'slurm' and 'timeout_min' not in args:
    raise ValueError(
      '--cluster=slurm needs the minutes that a run may take: '
      '--cluster_args=timeout_min=60'
    )
  for name in (*_NUMBERS, 'max_jobs'):
    if name in args and not (is_number(args[name]) and args[name] >= 0):
      raise ValueError(
        f'--cluster_args={name}={args[name]} must be a number, 0 or more'
      )
  known = (*_COMMON, 'max_jobs')
  of_slurm = [name for name in args if name not in known]
  if kind != 'slurm' and of_slurm:
    raise ValueError(
      f'--cluster_args={of_slurm[0]} is for --cluster=slurm: local jobs take '
      f'{", ".join(known)}'
    )
  defaults = {'name': 'fps_jax', 'timeout_min': _A_YEAR}
  args.pop('max_jobs', None)
  parameters = {
    name if name in _COMMON else f'slurm_{name}': value
    for name, value in (defaults | args).items()
  }
  try:
    executor = submitit.AutoExecutor(folder, cluster=kind)
    executor.update_parameters(**parameters)
  except (NameError, TypeError, ValueError, RuntimeError) as error:
    raise ValueError(
      f'--cluster={kind} --cluster_args: {" ".join(str(error).split())}'
    ) from error
  return executor
