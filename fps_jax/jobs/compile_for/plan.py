"""How often the loops of a round turn: what its plan tells, and XLA does not.

Loops are told apart by their place in the Python code, which XLA keeps.
"""

import math
import re
from typing import NamedTuple, Self

import numpy as np

from fps_jax.core.types import RoundPlan
from fps_jax.runs.simulation import Simulation

# Places in which nothing loops: of how JAX puts programs together.
_NO_PLACE = re.compile(r'jit\(.*\)|shard_map|closed_call|body|vmap\(\)|')
_CHUNKS = [['while'], ['examine', 'while']]
_TILES = [
  ['while', 'while'],
  ['examine', 'while', 'while'],
  ['audit', 'while'],
]


class Turns(NamedTuple):
  """What the device with the most work does in a round.

  Attributes:
    chunks: that it has clients for.
    clients: of each chunk that run in turn; 1 where they are vmapped.
    steps: of training in each chunk, or of each client; the mean, rounded up.
    tiles: that hold a value of any client.
    examples: that it trains on, those of padding with them.
  """

  chunks: int
  clients: int
  steps: int
  tiles: int
  examples: int

  @classmethod
  def of(
    cls, simulation: Simulation, plan: RoundPlan, num_devices: int
  ) -> Self:
    """Returns those of a round.

    Args:
      simulation: the run.
      plan: of the round.
      num_devices: on which its clients are.
    """
    method, cohort = simulation.round.method, plan.cohort
    size, vmaps = method.performance.clients_per_chunk, method.performance.vmaps
    steps_of_devices = np.reshape(cohort.num_steps, (num_devices, -1))
    steps_C = max(steps_of_devices, key=np.sum)
    present = int(np.sum(steps_C > 0))
    # Rows are ordered by falling steps: the first of a chunk has the most.
    first = steps_C[:present:size] if vmaps else steps_C[:present]
    at_once = size if vmaps else 1
    batch_size = cohort.indices.shape[-1]
    return cls(
      chunks=math.ceil(present / size),
      clients=1 if vmaps else min(size, max(present, 1)),
      steps=math.ceil(np.mean(first)) if present else 0,
      tiles=int(method.tiling.used(method.counts_at(plan.pruning)[-1])),
      examples=int(np.sum(first)) * at_once * batch_size,
    )

  def of_loop(self, scope: str) -> int | None:
    """Returns how often a loop turns each time; None where no plan tells.

    Such as that of the cipher, which goes on until every word is in the field:
    mostly once.

    >>> turns = Turns(chunks=2, clients=1, steps=60, tiles=3, examples=9)
    >>> turns.of_loop('jit(collect_updates)/while/body/train/vmap()/while')
    60
    """
    parts = [re.sub(r'vmap\((.+)\)', r'\1', part) for part in scope.split('/')]
    parts = [part for part in parts if not _NO_PLACE.fullmatch(part)]
    if parts in _CHUNKS:
      return self.chunks
    if parts in _TILES:
      return self.tiles
    if 'train' in parts:
      inside = parts[parts.index('train') + 1 :]
      loops = [self.steps] if self.clients == 1 else [self.clients, self.steps]
      is_own = inside == ['while'] * len(inside) and len(inside) <= len(loops)
      return loops[len(inside) - 1] if inside and is_own else None
    return None
