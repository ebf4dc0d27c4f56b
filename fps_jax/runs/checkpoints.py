"""Checkpoints of a run: all that a round hands to the next, kept by orbax.

A checkpoint is written in the background, under another name until it is
whole, so that a run that is killed at any moment finds the one before.

Of several processes process 0 alone writes and reads, and tells the others what
it read: each has the whole state, and hosts need not share a disk. So what is
there does not tell how many there were, and any number may go on.
"""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import jax
import numpy as np

from fps_jax.core import extras, files
from fps_jax.core.over_jax import of_first
from fps_jax.core.types import Array, RoundState
from fps_jax.results.metrics import MetricsRow

_STATE, _DIGEST, _BEST = 'state', 'digest', 'best'


def _orbax() -> Any:
  """Returns the package, which runs that keep nothing do without."""
  extras.require_checkpoints()
  import orbax.checkpoint as ocp

  return ocp


def _manager(folder: pathlib.Path, **options: Any) -> Any:
  """Returns orbax's manager of a folder that exists, for this process alone."""
  ocp, own = _orbax(), jax.process_index()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=own,
    active_processes={own},
    barrier_sync_key_prefix=f'process_{own}',
  )
  return ocp.CheckpointManager(
    folder.resolve(),
    options=ocp.CheckpointManagerOptions(
      create=False, multiprocessing_options=alone, **options
    ),
  )


class CheckpointError(Exception):
  """A checkpoint cannot be written or read; the message says what to do."""


class BestModel(NamedTuple):
  """The model of the round with the highest accuracy in validation.

  Attributes:
    round: rounds completed by then.
    accuracy: in validation.
    params: float32 [D].
  """

  round: int
  accuracy: float
  params: np.ndarray


def better(
  best: BestModel | None, row: MetricsRow, params: Array
) -> BestModel | None:
  """Returns the better of the best model so far and that after a round.

  Args:
    best: of the rounds before; None without any.
    row: of the round.
    params: float32 [D], copied if it is the better one.
  """
  accuracy = row['validation_accuracy']
  if (
    accuracy is None or row['diverged'] or (best and accuracy <= best.accuracy)
  ):
    return best
  # On a CPU, NumPy would otherwise look into memory that is donated next.
  return BestModel(row['round'], accuracy, np.array(jax.device_get(params)))


class Checkpoints:
  """The checkpoints of one run, in a folder of their own.

  All processes of a run have them, and call the same methods.

  Guarantees:
    - what `restore` returns is what was saved, bit for bit, by however many
      processes, or it raises;
    - a checkpoint that was not written to its end is as if it had not been
      begun.

  Attributes:
    every_rounds: rounds between checkpoints; the last round has one, too.
  """

  def __init__(self, folder: pathlib.Path | None, every_rounds: int, keep: int):
    """Opens a folder of checkpoints.

    Args:
      folder: created if need be; None in all processes but the first.
      every_rounds: rounds between checkpoints, at least 1.
      keep: how many are kept, the last ones, at least 1.

    Raises:
      OSError: if the folder cannot be created or read.
    """
    self.every_rounds = every_rounds
    self._folder, self._manager = folder, None
    if folder is not None:
      with files.naming(folder, problem='cannot be written to'):
        folder.mkdir(parents=True, exist_ok=True)
        self._manager = _manager(folder, max_to_keep=keep)

  def __enter__(self) -> Self:
    """Returns the checkpoints themselves."""
    return self

  def __exit__(self, *exc_info: object) -> None:
    """Waits for the last checkpoint; an error that is on its way goes first."""
    try:
      if self._manager:
        self._manager.close()
    except Exception as error:
      # What is on its way says more.
      if exc_info[0] is None:
        raise self._unwritable(error) from error

  @property
  def last_round(self) -> int:
    """Rounds completed in the last checkpoint that is here; 0 without one."""
    return (self._manager and self._manager.latest_step()) or 0

  def save(self, state: RoundState, best: BestModel | None = None) -> None:
    """Copies a state and begins to write it; `state` may be donated then.

    Args:
      state: after some round.
      best: the best model so far; None where it is not kept.

    Raises:
      CheckpointError: if this or the checkpoint before cannot be written.
    """
    if self._manager is None:
      return
    # On a CPU, NumPy would otherwise look into the donated memory.
    on_host = _named(jax.device_get(state))
    named = {name: np.array(leaf) for name, leaf in on_host.items()}
    ocp = _orbax()
    digests = {'sha256': _digest(named)}
    items = {_STATE: ocp.args.StandardSave(named)}
    if best is not None:
      arrays = {name: np.array(one) for name, one in best._asdict().items()}
      digests[_BEST] = _digest(arrays)
      items[_BEST] = ocp.args.StandardSave(arrays)
    items[_DIGEST] = ocp.args.JsonSave(digests)
    try:
      self._manager.save(int(state.round), args=ocp.args.Composite(**items))
    except Exception as error:
      raise self._unwritable(error) from error

  def restore(self, initial: RoundState) -> RoundState:
    """Returns the state of the last checkpoint.

    Args:
      initial: of the same run, before its first round; what is returned lies
        where it does.

    Returns:
      The state; `initial` itself if there is no checkpoint.

    Raises:
      CheckpointError: if the checkpoint is damaged, or of another model.
    """
    if not of_first(np.array(self.last_round)):
      return initial
    leaves = _named(initial)
    named = self._read(leaves) if self._folder else None
    placed = []
    for name, leaf in leaves.items():
      array = named[name] if named else np.zeros(leaf.shape, leaf.dtype)
      placed.append(_place(of_first(array), leaf.sharding))
    return jax.tree.unflatten(jax.tree.structure(initial), placed)

  def _read(self, leaves: Mapping[str, jax.Array]) -> dict[str, np.ndarray]:
    """Returns the last checkpoint, of arrays such as these."""
    assert self._folder is not None
    named = read(self._folder, self.last_round)
    expected, found = _describe(leaves), _describe(named)
    if found != expected:
      raise CheckpointError(
        f'checkpoint {self._folder / str(self.last_round)} holds {found} where '
        f'this run has {expected}: it was written by another version, give '
        'another --workdir or --overwrite'
      )
    return named

  def restore_best(self) -> BestModel | None:
    """Returns the best model as of the last checkpoint; None without any.

    Raises:
      CheckpointError: if it is damaged.
    """
    here, about = None, np.zeros(3)
    if self._folder and (self._folder / str(self.last_round) / _BEST).is_dir():
      here = read_best(self._folder, self.last_round)
      about = np.array([here.round, here.accuracy, len(here.params)])
    round_number, accuracy, size = of_first(about).tolist()
    if not size:
      return None
    params = here.params if here else np.zeros(int(size), np.float32)
    return BestModel(int(round_number), accuracy, of_first(params))

  def _unwritable(self, error: Exception) -> CheckpointError:
    assert self._folder is not None
    return CheckpointError(
      f'no checkpoint can be written to {files.show(self._folder)} '
      f'({_one_line(error)}): {files.cure_of(error)}; it goes on from round '
      f'{self.last_round}'
    )


def last_round(folder: pathlib.Path) -> int:
  """Returns the rounds completed in a folder's last checkpoint; 0 without."""
  if not folder.is_dir():
    return 0
  with _manager(folder) as manager:
    return manager.latest_step() or 0


def read(
  folder: pathlib.Path, round_number: int | None = None
) -> dict[str, np.ndarray]:
  """Returns the arrays of a checkpoint.

  Args:
    folder: of a run's checkpoints.
    round_number: rounds that were completed by then; None for the last one.

  Returns:
    Names of `RoundState` to arrays; `params` is the global model, float32 [D],
    in the order of `jax.flatten_util.ravel_pytree`.

  Raises:
    CheckpointError: if there is no checkpoint, or it is damaged.
  """
  return _read(folder, round_number, _STATE)


def read_best(
  folder: pathlib.Path, round_number: int | None = None
) -> BestModel:
  """Returns the best model of a run with `checkpoint.keep_best`.

  Args:
    folder: of a run's checkpoints.
    round_number: rounds that were completed by then, of which it is the best;
      None for those of the last checkpoint.

  Raises:
    CheckpointError: if there is none, or it is damaged.
  """
  named = _read(folder, round_number, _BEST)
  return BestModel(
    int(named['round']), float(named['accuracy']), named['params']
  )


def _read(
  folder: pathlib.Path, round_number: int | None, item: str
) -> dict[str, np.ndarray]:
  if not folder.is_dir():
    raise CheckpointError(f'{folder} is not a folder of checkpoints')
  with _manager(folder) as manager:
    step = manager.latest_step() if round_number is None else round_number
    path = folder / str(step)
    if step not in manager.all_steps():
      raise CheckpointError(
        f'{folder} has no checkpoint {"" if step is None else step}: it has '
        f'those of rounds {sorted(manager.all_steps())}'
      )
    if item == _BEST and not (path / item).is_dir():
      raise CheckpointError(
        f'checkpoint {path} has no best model: its run has none with '
        'checkpoint.keep_best=False, and before its first evaluation'
      )
    return _read_item(manager, step, path, item)


def _read_item(
  manager: Any, step: int, path: pathlib.Path, item: str
) -> dict[str, np.ndarray]:
  ocp = _orbax()
  args = ocp.args.Composite(
    **{item: ocp.args.StandardRestore(), _DIGEST: ocp.args.JsonRestore()}
  )
  cure = (
    f'remove {path} to go on from the checkpoint before, if there is one, or '
    'from the start'
  )
  try:
    restored = manager.restore(step, args=args)
    named = {name: np.asarray(leaf) for name, leaf in restored[item].items()}
    digest = restored[_DIGEST]['sha256' if item == _STATE else item]
  except Exception as error:
    raise CheckpointError(
      f'checkpoint {path} cannot be read ({_one_line(error)}): {cure}'
    ) from error
  if _digest(named) != digest:
    raise CheckpointError(f'checkpoint {path} is damaged: {cure}')
  return named


def _named(state: RoundState) -> dict[str, jax.Array]:
  """Returns the arrays of a state by their names, in its order."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='.'): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(state)
  }


def _place(array: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
  """Returns an array that all processes have, on the devices of all."""
  return jax.make_array_from_callback(
    array.shape, sharding, lambda index: array[index]
  )


def _one_line(error: Exception) -> str:
  return ' '.join(str(error).split())[:200]


def _describe(named: Mapping[str, Any]) -> dict[str, str]:
  """Returns the shape and the type of each array."""
  return {
    name: f'{leaf.dtype}{list(leaf.shape)}' for name, leaf in named.items()
  }


def _digest(named: dict[str, np.ndarray]) -> str:
  """Returns what tells arrays, and their names, from any others."""
  digest = hashlib.sha256()
  for name in sorted(named):
    array = named[name]
    digest.update(f'{name} {array.dtype} {array.shape};'.encode())
    digest.update(np.ascontiguousarray(array).data)
  return digest.hexdigest()
