"""What a command line says besides the config."""

from typing import NamedTuple


class Options(NamedTuple):
  """What is not part of an experiment.

  Attributes:
    tfds_data_dir: where TFDS data sets are prepared; see
      `fps_jax.data.load_tfds`.
    profile: whether one round is traced, into the work directory's folder
      `profile`.
  """

  tfds_data_dir: str | None = None
  profile: bool = False
