"""What `launch.py` can run: a config's `job` names one of these."""

import pathlib
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from fps_jax.benchmark import sharing_throughput
from fps_jax.study import StudyError, run_study

# (config, work directory, command line, where TFDS data sets are)
Job = Callable[
  [ConfigDict, str | pathlib.Path, Sequence[str], str | None], None
]

JOBS: dict[str, Job] = {
  'study': run_study,
  'sharing_throughput': sharing_throughput.run,
}


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  tfds_data_dir: str | None = None,
) -> None:
  """Runs the job that a config names.

  Raises:
    StudyError: if there is no such job, or it cannot run or go on.
  """
  if config.job not in JOBS:
    raise StudyError(f'job={config.job!r} is not one of {sorted(JOBS)}')
  JOBS[config.job](config, workdir, argv, tfds_data_dir)
