"""What `launch.py` can run: a config's `job` names one of these."""

import pathlib
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from fps_jax.benchmark import sharing_throughput, throughput
from fps_jax.options import Options
from fps_jax.study import StudyError, run_study

# (config, work directory, command line, options)
Job = Callable[[ConfigDict, str | pathlib.Path, Sequence[str], Options], None]

JOBS: dict[str, Job] = {
  'study': run_study,
  'sharing_throughput': sharing_throughput.run,
  'throughput': throughput.run,
}

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
  if config.job not in JOBS:
    raise StudyError(f'job={config.job!r} is not one of {sorted(JOBS)}')
  JOBS[config.job](config, workdir, argv, options)
