"""One run of a study: a variant under a seed."""

import pathlib
from typing import NamedTuple

from ml_collections import ConfigDict

from fps_jax.results.titles import title_of
from fps_jax.runs.simulation import Simulation


class StudyRun(NamedTuple):
  """One run of a study.

  Attributes:
    name: of its variant.
    seed: of the run.
    variant: the variant's config.
    simulation: ready to start.
  """

  name: str
  seed: int
  variant: ConfigDict
  simulation: Simulation

  @property
  def title(self) -> str:
    """What it is called in what a user reads."""
    return f'{title_of(self.name)}, seed {self.seed}'

  @property
  def folder(self) -> pathlib.Path:
    """Where it is in the work directory."""
    return pathlib.Path(self.name, f'seed_{self.seed}')
