"""Runs from Python: a config in, trained models and their metrics out.

Example:
  >>> import fps_jax as fps
  >>> config = fps.default_config('fedavg')
  >>> config.data.source, config.num_rounds = 'fake', 2
  >>> config.data.num_clients = config.cohort.size = 4
  >>> result = fps.run(config, progress=False)
  >>> [row['round'] for row in result.rows], result.params.keys()
  ([1, 2], dict_keys(['hidden_0', 'hidden_1', 'output']))
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict
from rich.console import Console

from fps_jax.config.sections.model import Network, make_model, make_network
from fps_jax.core import arrays, files, startup
from fps_jax.core.types import Array, Params
from fps_jax.data import SOURCES
from fps_jax.data.dataset import Dataset, Signature
from fps_jax.jobs import agreement, study
from fps_jax.jobs.keeping import InMemory
from fps_jax.jobs.options import Options
from fps_jax.results import summary
from fps_jax.results.metrics import MetricsRow
from fps_jax.results.metrics_file import read_metrics
from fps_jax.results.rows import rows_of
from fps_jax.results.tables import make_console
from fps_jax.runs import checkpoints
from fps_jax.runs.checkpoints import BestModel
from fps_jax.runs.costs.message_bytes import RoundBytes
from fps_jax.runs.hooks import OnRound

if TYPE_CHECKING:
  import pandas


# In the folder of a run.
_KEPT = 'checkpoints'


class Best(NamedTuple):
  """The model of the round with the highest accuracy in validation.

  Attributes:
    round: rounds completed by then.
    accuracy: in validation.
    params: as of `Run`.
  """

  round: int
  accuracy: float
  params: Params


@dataclasses.dataclass(frozen=True)
class Run:
  """One trained model: a variant of a config under one seed.

  Attributes:
    variant: its name.
    seed: of the run.
    config: of the variant.
    rows: a dict of metrics for each round, as `fps_jax.results.metrics` has it.
    params: the model's parameters, a pytree of float32 arrays.
    module: the model.
    network: its functions, pixels' scaling included.
    examples: what it is made for.
    folder: where it is kept; None where it is not.
    best: its best model; None without `checkpoint.keep_best`.
    warnings: about its settings, and about what it lost on its way; none of a
      run that is loaded.
  """

  variant: str
  seed: int
  config: ConfigDict
  rows: Sequence[MetricsRow]
  params: Params
  module: nn.Module
  network: Network
  examples: Signature
  folder: pathlib.Path | None = None
  best: Best | None = None
  warnings: Sequence[str] = ()

  def apply(self, inputs: Array, params: Params | None = None) -> Array:
    """Returns what the model makes of inputs.

    Args:
      inputs: [B, ...] as the data set has them: images as uint8, unscaled.
      params: other parameters; None for `self.params`.

    Returns:
      Logits, float32 [B, classes], or what the model returns instead.

    Raises:
      ValueError: if the inputs are of another type or shape.
    """
    params = self.params if params is None else params
    dtype, shape = self.examples.input_dtype, self.examples.input_shape
    arrays.check('inputs', inputs, dtype, ('B', *shape))
    return self.network.apply(params, jnp.asarray(inputs))

  @property
  def total_bytes(self) -> RoundBytes:
    """Bytes of all rounds together."""
    rows = self.rows
    return RoundBytes(
      sum(row['uplink_bytes_per_client'] for row in rows),
      sum(row['downlink_bytes_per_client'] for row in rows),
      sum(row['server_to_central_bytes'] for row in rows),
    )


@dataclasses.dataclass(frozen=True)
class Result:
  """What a study came to: its runs, by variant and seed.

  A study of one run has that run's attributes itself: `result.params`.

  Attributes:
    runs: in the order of the config.
    workdir: where it is kept; None where it is not.
  """

  runs: Sequence[Run]
  workdir: pathlib.Path | None = None

  @property
  def rows(self) -> list[dict[str, Any]]:
    """The rounds of all runs, as `fps_jax.results.rows` has them."""
    return list(
      rows_of(
        [summary.Run(run.variant, run.seed, [*run.rows]) for run in self.runs]
      )
    )

  def dataframe(self) -> 'pandas.DataFrame':
    """Returns `rows` as a DataFrame; ImportError without pandas."""
    try:
      import pandas
    except ImportError as error:
      raise ImportError(
        'a DataFrame needs pandas: pip install pandas, or take rows'
      ) from error
    return pandas.DataFrame(self.rows)

  def __getitem__(self, key: str | tuple[str, int]) -> Run:
    """Returns a run by its variant, or by variant and seed.

    Raises:
      KeyError: if there is none, or there are several.
    """
    variant, seed = key if isinstance(key, tuple) else (key, None)
    found = [
      run
      for run in self.runs
      if run.variant == variant and seed in (None, run.seed)
    ]
    if len(found) != 1:
      known = [(run.variant, run.seed) for run in self.runs]
      raise KeyError(f'{key!r} names {len(found)} runs of {known}: name one')
    return found[0]

  def __getattr__(self, name: str) -> Any:
    """Returns an attribute of the only run."""
    if name.startswith('_') or name not in _OF_RUN:
      raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')
    if len(self.runs) != 1:
      known = [(run.variant, run.seed) for run in self.runs]
      raise AttributeError(
        f'{name} is of one run, and there are {len(known)}: result[variant, '
        f'seed].{name}, of {known}'
      )
    return getattr(self.runs[0], name)


_OF_RUN = {
  *(field.name for field in dataclasses.fields(Run)),
  'apply',
  'total_bytes',
}


def run(
  config: ConfigDict,
  workdir: str | os.PathLike[str] | None = None,
  *,
  dataset: Dataset | None = None,
  on_round: OnRound | None = None,
  progress: bool = True,
  **options: Any,
) -> Result:
  """Runs a study, with all its variants and seeds.

  Args:
    config: see `default_config`.
    workdir: where all is kept that `launch.py` keeps; a study that is there
      goes on, or is read. None keeps nothing on disk. Of several processes,
      process 0 keeps it, and all read there what had been run before.
    dataset: in place of `config.data.source`, which becomes its name and a hash
      of it, so that no study goes on with other data.
    on_round: called after every round; see `fps_jax.runs.hooks`.
    progress: whether to show it, in a terminal or in a notebook.
    **options: others of `jobs.options.Options`, such as `tfds_data_dir`.

  Returns:
    What the runs came to.

  Raises:
    StudyError: if the config is not valid, or as `fps_jax.jobs.study.run`.
    TypeError: if there is no such option.
  """
  with contextlib.suppress(RuntimeError):
    # Once JAX has started, its devices are what they are.
    startup.use_all_cores()
  console = make_console() if progress else Console(quiet=True)
  chosen = Options(**options, on_round=on_round)
  with _source(config, dataset) as config:
    if workdir is None:
      results = study.run(config, InMemory(chosen), chosen, console)
      return Result([_of_memory(each) for each in results])
    folder, argv = pathlib.Path(workdir), ['fps_jax.run']
    results = study.run_study(
      config, folder, argv, chosen, console, keeps_states=True
    )
  try:
    return Result([_of_memory(each, folder) for each in results], folder)
  except ValueError as error:
    raise study.StudyError(
      f'{error}; give overwrite=True to run it again, or another work directory'
    ) from error


@contextlib.contextmanager
def _source(
  config: ConfigDict, dataset: Dataset | None
) -> Iterator[ConfigDict]:
  """Yields the config of a study whose source is the data set, if any."""
  if dataset is None:
    yield config
    return
  config = config.copy_and_resolve_references()
  name = f'{dataset.name}@{agreement.digest_of_data(dataset)}'
  config.data.source = name
  SOURCES[name] = lambda: dataset
  try:
    yield config
  finally:
    del SOURCES[name]


def load(folder: str | os.PathLike[str]) -> Result:
  """Returns what a study, or one run of it, came to: from disk.

  Args:
    folder: the work directory of a study, `DIR`, or the folder of one of its
      runs, `DIR/VARIANT/seed_SEED`.

  Returns:
    What `run` returned; of a run that is not finished, what there is up to its
    last checkpoint. Runs of a study without one are left out, with a warning.

  Raises:
    ValueError: if there is no run that has a checkpoint.
  """
  path = pathlib.Path(folder)
  if (path / 'metrics.jsonl').is_file():
    return Result([_of_disk(path)], path.parent.parent)
  folders = [
    metrics.parent
    for variant in _variants(path)
    for metrics in summary.metrics_paths(path / variant).values()
  ]
  if not folders:
    raise ValueError(
      f'{path} holds no study and no run: give a --workdir, or a folder '
      'VARIANT/seed_SEED in it'
    )
  begun = [one for one in folders if checkpoints.last_round(one / _KEPT)]
  if left_out := [str(one) for one in folders if one not in begun]:
    warnings.warn(f'no checkpoint yet, left out: {left_out}', stacklevel=2)
  return Result([_of_disk(one) for one in begun or folders], path)


def _variants(workdir: pathlib.Path) -> list[str]:
  """Returns the names of variants, in the order of the config."""
  path = workdir / 'config.json'
  if not path.is_file():
    return []
  config = json.loads(path.read_text('utf-8'))
  return list(config.get('variants') or [config['name']])


def _of_disk(folder: pathlib.Path) -> Run:
  """Returns a run from its folder."""
  variant = folder.parent
  examples = _read_signature(variant / 'model.json')
  config = _read_config(variant / 'config.json')
  try:
    kept = folder / _KEPT
    keeps_best = config.checkpoint.get('keep_best')
    best = checkpoints.read_best(kept) if keeps_best else None
    params_D = checkpoints.read(kept)['params']
  except checkpoints.CheckpointError as error:
    raise ValueError(
      f'{error}: a model is loaded from checkpoints, which '
      f'checkpoint.every_rounds={config.checkpoint.every_rounds} writes'
    ) from error
  return _make_run(
    (variant.name, int(folder.name.removeprefix('seed_')), config),
    read_metrics(folder / 'metrics.jsonl', needed=())[
      : checkpoints.last_round(kept)
    ],
    (params_D, best),
    examples,
    folder,
  )


def _read_signature(path: pathlib.Path) -> Signature:
  """Returns what a variant's models are made for."""
  try:
    found = json.loads(files.read_text(path))
    signature = Signature(*(found[name] for name in Signature._fields))
    return signature._replace(input_shape=tuple(signature.input_shape))
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{path} does not say what its models are made for ({error!r}): give a '
      'study of this version'
    ) from error


def _read_config(path: pathlib.Path) -> ConfigDict:
  """Returns a variant's config; JSON has lists where configs have tuples."""

  def restore(value: Any) -> Any:
    if isinstance(value, Mapping):
      return {name: restore(one) for name, one in value.items()}
    return tuple(map(restore, value)) if isinstance(value, list) else value

  return ConfigDict(restore(json.loads(path.read_text('utf-8'))))


def _of_memory(
  result: study.Result, workdir: pathlib.Path | None = None
) -> Run:
  """Returns a run that has just ended; from disk if it had before."""
  folder = workdir / result.name / f'seed_{result.seed}' if workdir else None
  if result.state is None:
    assert folder is not None  # Without one, all runs begin anew.
    return dataclasses.replace(_of_disk(folder), warnings=result.warnings)
  run = _make_run(
    (result.name, result.seed, result.variant),
    result.rows,
    (jax.device_get(result.state.params), result.best),
    result.simulation.accounts.model.examples,
    folder,
  )
  return dataclasses.replace(run, warnings=result.warnings)


def _make_run(
  named: tuple[str, int, ConfigDict],
  rows: Sequence[MetricsRow],
  models: tuple[np.ndarray, BestModel | None],
  examples: Signature,
  folder: pathlib.Path | None = None,
) -> Run:
  network = make_network(named[2], examples)
  last_D, best = models
  return Run(
    *named,
    rows=rows,
    params=network.unravel(jnp.asarray(last_D)),
    module=make_model(named[2], examples.num_classes),
    network=network,
    examples=examples,
    folder=folder,
    best=best
    and Best(
      best.round, best.accuracy, network.unravel(jnp.asarray(best.params))
    ),
  )
