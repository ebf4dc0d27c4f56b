"""Metrics for TensorBoard, while a study runs: the extra `tensorboard`."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Callable, Iterator

from fps_jax.metrics import MetricsRow

_SECONDS_TO_DISK = 5


def require() -> None:
  """Raises ValueError unless events can be written."""
  if importlib.util.find_spec('tensorboardX') is None:
    raise ValueError(
      '--tensorboard needs the package tensorboardX: install it with '
      "pip install '.[tensorboard]'"
    )


def scalars(row: MetricsRow) -> dict[str, float]:
  """Returns what TensorBoard plots of a round, by name.

  That is every number that was measured; of clients per tier one for each
  tier, and of servers and clients that were left out how many they are.
  """
  found: dict[str, float] = {}
  for name, value in row.items():
    if name == 'clients_per_tier':
      tiers = enumerate(row['clients_per_tier'])
      found |= {f'{name}/{tier}': count for tier, count in tiers}
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
    replaced.
  """
  if folder is None:
    yield lambda row: None
    return
  from tensorboardX import SummaryWriter

  with contextlib.ExitStack() as stack:
    writers: list[SummaryWriter] = []

    def write(row: MetricsRow) -> None:
      if not writers:
        writer = SummaryWriter(
          str(folder),
          purge_step=row['round'],
          flush_secs=_SECONDS_TO_DISK,
          # Files are named after seconds: two could be one.
          filename_suffix=f'.from_round_{row["round"]}',
        )
        writers.append(stack.enter_context(writer))
      for name, value in scalars(row).items():
        writers[0].add_scalar(name, value, row['round'])

    yield write
