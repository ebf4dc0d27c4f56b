"""What a command line says besides the config."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fps_jax.core.interruption import Interruption
from fps_jax.runs.hooks import OnRound


class Cluster(NamedTuple):
  """Where the runs of a study are jobs of their own.

  Attributes:
    kind: slurm or local.
    args: what each job is to have, such as `timeout_min`; and `max_jobs`, how
      many are handed in at a time.
    command: that does one run, once it is told which.
  """

  kind: str
  args: Mapping[str, Any]
  command: Sequence[str]


class Options(NamedTuple):
  """What is not part of an experiment.

  Attributes:
    tfds_data_dir: where TFDS data sets are prepared; see
      `fps_jax.data.load_tfds`.
    profile: whether one round is traced, into the work directory's folder
      `profile`.
    overwrite: whether a study that is in the work directory goes first.
    tensorboard: whether every round is written for TensorBoard, too, into the
      work directory's folder `tensorboard`.
    resume_changed: whether a study goes on although its code has changed.
    prints_json: whether the last line of output is the results as JSON.
    config_file: that the config was read from; None if it was made in Python.
    cluster: where runs are jobs of their own; None: in this process, in turn.
    only_run: of all runs, that which this process does for another that is
      holding the work directory, `VARIANT/seed_SEED`; None: all.
    compile_for: devices that everything is compiled for instead of running, as
      `fps_jax.jobs.compile_for.target` has them; None to run.
    interruption: what may ask a study to stop between rounds; None for nothing.
    on_round: called after every round of every run, besides those that
      `eval.on_round` names; from Python alone.
  """

  tfds_data_dir: str | None = None
  profile: bool = False
  overwrite: bool = False
  tensorboard: bool = False
  resume_changed: bool = False
  prints_json: bool = False
  config_file: str | None = None
  cluster: Cluster | None = None
  only_run: str | None = None
  compile_for: str | None = None
  interruption: Interruption | None = None
  on_round: OnRound | None = None

  @property
  def of_studies(self) -> list[str]:
    """The flags given that no other job but a study knows."""
    names = ('profile', 'overwrite', 'tensorboard', 'resume_changed', 'cluster')
    return [f'--{name}' for name in names if getattr(self, name)]
