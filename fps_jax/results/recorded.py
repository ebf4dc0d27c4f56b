"""Studies as they are on disk: finished, still running or given up."""

import dataclasses
import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fps_jax.core import files
from fps_jax.results import kept_warnings, smoke
from fps_jax.results.metrics import COLUMNS, is_evaluated
from fps_jax.results.metrics_file import read_metrics
from fps_jax.results.summary import Run, metrics_paths
from fps_jax.results.titles import title_of

# Other versions of this package have more or fewer columns.
_NEEDED = [name for name, column in COLUMNS.items() if column.is_needed]


@dataclasses.dataclass(frozen=True)
class Variant:
  """One method of a study.

  Attributes:
    name: of its folder.
    title: name for the reader.
    num_rounds: that each of its runs takes.
    config: its whole config.
    runs: one for each seed that the config asks for or that is there, by
      ascending seed; one that has not begun has no rows.
  """

  name: str
  title: str
  num_rounds: int
  config: Mapping[str, Any]
  runs: list[Run]

  @property
  def complete(self) -> list[Run]:
    """The runs that have all their rounds, the last one evaluated.

    One that was to stop at an accuracy, and did, will have no more.
    """
    return [
      run
      for run in self.runs
      if (len(run.rows) == self.num_rounds or run.has_reached_accuracy)
      and not run.has_diverged
      and is_evaluated(run.rows[-1])
    ]

  @property
  def diverged(self) -> list[Run]:
    """The runs that ended early, as training diverged."""
    return [run for run in self.runs if run.has_diverged]

  @property
  def incomplete(self) -> list[Run]:
    """All other runs."""
    ended = [*self.complete, *self.diverged]
    return [run for run in self.runs if run not in ended]


@dataclasses.dataclass(frozen=True)
class Study:
  """One work directory.

  Attributes:
    label: its name for the reader, unlike those of the other studies.
    folder: where it is.
    baseline: the variant that savings are measured against.
    target_accuracy: whose cost is reported, in (0, 1), or 0 for none.
    config: the whole config, with the variants as overrides.
    environment: see `core.environment`; empty where it was not recorded.
    variants: in the order of the config, then those it does not name.
    warnings: about settings, a line each.
  """

  label: str
  folder: pathlib.Path
  baseline: str
  target_accuracy: float
  config: Mapping[str, Any]
  environment: Mapping[str, Any]
  variants: list[Variant]
  warnings: list[str]

  @property
  def runs(self) -> list[Run]:
    """The runs of all variants."""
    return [run for variant in self.variants for run in variant.runs]

  @property
  def complete(self) -> list[Run]:
    """Those of them that are."""
    return [run for variant in self.variants for run in variant.complete]

  @property
  def diverged(self) -> list[Run]:
    """Those of them that ended early, as training diverged."""
    return [run for run in self.runs if run.has_diverged]

  @property
  def notice(self) -> str:
    """What a reader must know first, if anything."""
    return smoke.notice(self.config)

  @property
  def command_lines(self) -> list[str]:
    """The commands that began the study, and went on with it."""
    started = (self.environment, *self.environment.get('resumed', ()))
    return [shlex.join(each.get('argv', ['not recorded'])) for each in started]


def read_studies(folders: Sequence[str | pathlib.Path]) -> list[Study]:
  """Reads the studies of some work directories, each of them once.

  Args:
    folders: work directories of studies that have begun, not empty.

  Returns:
    The studies in the order of `folders`; a folder named twice is read once.

  Raises:
    ValueError: if a folder is not the work directory of a study, or a file in
      it is damaged; the message names the folder.
    OSError: if it cannot be read.
  """
  paths = {pathlib.Path(folder).resolve(): str(folder) for folder in folders}
  names = [path.name for path in paths]
  studies = []
  for path, given in paths.items():
    with files.naming(path, 'leave the folder out'):
      label = path.name if names.count(path.name) == 1 else given
      studies.append(_read_study(path, label))
  return studies


def _read_study(folder: pathlib.Path, label: str) -> Study:
  if not folder.is_dir():
    raise ValueError(
      f'{folder} is not a folder: give the --workdir of a study, such as '
      'runs/mnist-20260131-120000'
    )
  config = _read_json(folder / 'config.json')
  try:
    named = list(config['variants']) or [config['name']]
    found = sorted(
      path.parent.parent.name for path in folder.glob('*/seed_*/metrics.jsonl')
    )
    names = list(dict.fromkeys([*named, *found]))
    return Study(
      label=label,
      folder=folder,
      baseline=config['baseline'] or names[0],
      # Configs of earlier versions have none.
      target_accuracy=config.get('target_accuracy') or 0.0,
      config=config,
      environment=(
        _read_json(folder / 'environment.json')
        if (folder / 'environment.json').exists()
        else {}
      ),
      variants=[_read_variant(folder / name) for name in names],
      warnings=kept_warnings.read(folder),
    )
  except KeyError as error:
    raise ValueError(
      f'{folder}: its config.json has no {error}: it was not written by a '
      'study; give the --workdir of one'
    ) from error


def _read_variant(folder: pathlib.Path) -> Variant:
  config = _read_json(folder / 'config.json')
  runs = {seed: Run(folder.name, seed, []) for seed in config['seeds']}
  for seed, path in metrics_paths(folder).items():
    runs[seed] = Run(folder.name, seed, read_metrics(path, _NEEDED))
  return Variant(
    name=folder.name,
    title=title_of(folder.name),
    num_rounds=config['num_rounds'],
    config=config,
    runs=[runs[seed] for seed in sorted(runs)],
  )


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    content = json.loads(files.read_text(path, 'leave the folder out'))
  except FileNotFoundError as error:
    raise ValueError(
      f'there is no {path}, which a study writes before its first round: give '
      'the --workdir of a study'
    ) from error
  except ValueError as error:
    raise ValueError(
      f'{path} is not JSON ({error}): leave the folder out, or run the study '
      'again'
    ) from error
  if not isinstance(content, dict):
    raise ValueError(
      f'{path} holds a {type(content).__name__}, not an object: leave the '
      'folder out, or run the study again'
    )
  return content
