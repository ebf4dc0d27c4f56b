"""Metrics for TensorBoard, while a study runs: the extra `tensorboard`."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from fps_jax.core import extras, files
from fps_jax.results.metrics import COLUMNS, MetricsRow

_SECONDS_TO_DISK = 5


def require() -> None:
  """Raises ValueError unless events can be written."""
  extras.require('tensorboardX', 'tensorboard', '--tensorboard')


def scalars(row: MetricsRow) -> dict[str, float]:
  """Returns what TensorBoard plots of a round, by name.

  That is every number that was measured; of clients per tier one for each
  tier, and of servers and clients that were left out how many they are.
  """
  found: dict[str, float] = {}
  for name, value in row.items():
    if isinstance(value, list) and COLUMNS[name].plots_items:
      found |= {f'{name}/{i}': item for i, item in enumerate(value)}
    elif isinstance(value, list):
      found[name] = len(value)
    elif isinstance(value, int | float) and name != 'round':
      found[name] = value
  return found


@contextlib.contextmanager
def writing(
  folder: pathlib.Path | None,
) -> Iterator[Callable[[MetricsRow], None]]:
  """Opens a run's folder of events for the time of a `with` block.

  Args:
    folder: created; None to write nothing.

  Yields:
    A function that writes a round's scalars, to be called in order. If the
    first round is not 1, it and later ones that are there already are
    replaced. It raises OSError where the folder cannot be written to.
  """
  if folder is None:
    yield lambda row: None
    return
  events = _Events(folder)
  try:
    yield events.write
  finally:
    events.close()


class _Events:
  """A run's file of events, begun with its first row.

  Not tensorboardX's own writer: its thread dies where a disk is full, and
  whoever hands it the next rounds waits for ever.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._file: Any = None
    self._flushed = 0.0

  def write(self, row: MetricsRow) -> None:
    from tensorboardX.proto import event_pb2, summary_pb2

    now, step = time.time(), row['round']
    with files.naming(self._folder, problem='cannot be written to'):
      if self._file is None:
        self._begin(now, step)
      values = [
        summary_pb2.Summary.Value(tag=name, simple_value=value)
        for name, value in scalars(row).items()
      ]
      self._file.write_event(
        event_pb2.Event(
          wall_time=now, step=step, summary=summary_pb2.Summary(value=values)
        )
      )
      if now - self._flushed > _SECONDS_TO_DISK:
        self._file.flush()
        self._flushed = now

  def _begin(self, now: float, step: int) -> None:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2

    self._folder.mkdir(parents=True, exist_ok=True)
    # Files are named after seconds: two could be one.
    self._file = EventsWriter(
      str(self._folder / 'events'), f'.from_round_{step}'
    )
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._file.write_event(
      event_pb2.Event(wall_time=now, step=step, session_log=start)
    )

  def close(self) -> None:
    if self._file is not None:
      with files.naming(self._folder, problem='cannot be written to'):
        self._file.close()
