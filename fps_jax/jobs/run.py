"""What `launch.py` can run: a config's `job` names one of these."""

import pathlib
import pkgutil
from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict

from fps_jax.core import files
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError

# (config, work directory, command line, options)
Job = Callable[[ConfigDict, str | pathlib.Path, Sequence[str], Options], None]

# Where each is. Imported when asked for, since some hold what only they need,
# such as Matplotlib, and measure their own memory.
JOBS = {
  'study': 'fps_jax.jobs.study:run_study',
  'sharing_throughput': 'fps_jax.jobs.sharing_throughput.job:run',
  'poisoning': 'fps_jax.jobs.poisoning.job:run',
  'privacy': 'fps_jax.jobs.privacy.job:run',
  'tradeoff': 'fps_jax.jobs.tradeoff.job:run',
  'throughput': 'fps_jax.jobs.throughput.job:run',
}
# Those that go on where they were, and that several processes run together.
STUDIES = ('study', 'poisoning', 'tradeoff')

_DEFAULTS = Options()


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
  if jax.process_count() > 1 and name not in STUDIES:
    raise StudyError(
      f'job={name!r} runs in one process, not in {jax.process_count()}: '
      'leave out --coordinator and --distributed'
    )
  job: Job = pkgutil.resolve_name(JOBS[name])
  try:
    folder = files.local(workdir, '--workdir')
    with files.naming(folder):
      job(config, folder, argv, options)
  except (files.PathError, OSError) as error:
    raise StudyError(str(error)) from error
