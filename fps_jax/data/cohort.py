"""Who takes part in a round, and on which examples: made on the host.

The training set sits once on the device; a client is a list of its rows.
"""

import dataclasses
import functools
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from fps_jax.core.devices import Placement
from fps_jax.core.rng import Stream, host_generator
from fps_jax.core.seeding import generators
from fps_jax.core.types import CohortPlan

_ONE_DEVICE = Placement()


class ChooseTiers(Protocol):
  """How much of the model each client of a round trains."""

  def __call__(
    self, round_number: int, client_ids: np.ndarray, num_examples: np.ndarray
  ) -> np.ndarray:
    """Returns the tiers of clients that train on so many examples.

    Args:
      round_number: from 0.
      client_ids: int64 [C].
      num_examples: int [C], repeats counted.

    Returns:
      int32 [C], negative for those that cannot take part.
    """


class Draw(NamedTuple):
  """Who takes part in a round.

  Attributes:
    client_ids: int64 [C], clients that report.
    tiers: int32 [C], how much of the model each trains.
    num_too_slow: clients that would have reported, but for the deadline.
    num_dropped: clients that are waited for but never report.
  """

  client_ids: np.ndarray
  tiers: np.ndarray
  num_too_slow: int
  num_dropped: int


@dataclasses.dataclass(frozen=True)
class Batching:
  """How clients go through their examples in a round.

  Attributes:
    batch_size: B, at least 1.
    epochs: passes over a client's examples, at least 1; a pass ends with a
      smaller batch where B does not divide the count.
    steps: if above 0, each client takes this many steps instead, going round
      its examples as often as that needs, in full batches or, if it owns fewer
      than B examples, in batches of all it owns.

  Raises:
    ValueError: if an attribute is out of range.
  """

  batch_size: int
  epochs: int
  steps: int = 0

  def __post_init__(self) -> None:
    """Checks the attributes."""
    if self.batch_size < 1 or self.epochs < 1 or self.steps < 0:
      raise ValueError(
        f'batch_size={self.batch_size} and epochs={self.epochs} must be at '
        f'least 1, steps={self.steps} at least 0 (0 means: by epochs)'
      )

  def num_steps(self, counts: np.ndarray) -> np.ndarray:
    """Returns the batches of clients that own so many examples: int32."""
    if self.steps:
      return np.full_like(counts, self.steps)
    return self.epochs * -(-counts // self.batch_size)

  def examples_trained(self, counts: np.ndarray) -> np.ndarray:
    """Returns how many examples they train on, repeats counted: int32."""
    if self.steps:
      return self.steps * np.minimum(self.batch_size, counts)
    return self.epochs * counts

  def cut(
    self,
    owned: np.ndarray,
    generator: np.random.Generator,
    batches_SxB: np.ndarray,
  ) -> None:
    """Writes the batches of a client, in an order that is drawn.

    Args:
      owned: int32 [n], the rows that it owns, at least one.
      generator: of the order; its state advances.
      batches_SxB: int32 [S, B], of -1, with at least its steps: gets its rows.
    """
    count = len(owned)
    if self.steps:
      filled = min(self.batch_size, count)
      num_epochs = -(-self.steps * filled // count)
      passes = [generator.permutation(owned) for _ in range(num_epochs)]
      order = np.concatenate(passes)[: self.steps * filled]
      batches_SxB[: self.steps, :filled] = order.reshape(-1, filled)
      return
    flat, padded = batches_SxB.reshape(-1), count + -count % self.batch_size
    for start in range(0, self.epochs * padded, padded):
      order = flat[start : start + count]
      order[:] = owned
      generator.shuffle(order)


@dataclasses.dataclass(frozen=True, eq=False)
class CohortPlanner:
  """Draws cohorts and cuts clients' examples into batches.

  Guarantees:
    - the plan depends on (seed, round, attempt) alone, and a client's batches
      on these and the client: not on who else takes part;
    - a client's epoch holds each of its examples exactly once;
    - who takes part on what does not depend on the placement;
    - every round's plan has the same shapes, so nothing is compiled again.

  Attributes:
    partition: rows of the training set that each client owns; none empty.
    seed: the run's seed.
    cohort_size: clients drawn a round, in [1, number of clients].
    batching: how they go through their examples.
    dropout_probability: chance in [0, 1) that a drawn client never reports,
      independently of the others.
    choose_tiers: how much of the model each trains; None where all train the
      same.
    weighs_examples: whether clients weigh as much as they have examples;
      otherwise all weigh the same.
    largest_weight: above 0, weights are whole parts of the largest, which is
      this: sums of them are smaller than those of examples. A client weighs at
      least 1.
    malicious: clients that an attacker controls.
    placement: where clients run.

  Raises:
    ValueError: if an attribute is out of range or a client owns nothing.
  """

  partition: Sequence[np.ndarray]
  seed: int
  cohort_size: int
  batching: Batching
  dropout_probability: float = 0.0
  choose_tiers: ChooseTiers | None = None
  weighs_examples: bool = True
  largest_weight: int = 0
  malicious: Collection[int] = ()
  placement: Placement = _ONE_DEVICE

  def __post_init__(self) -> None:
    """Checks the attributes."""
    for client, rows in enumerate(self.partition):
      if not len(rows):
        raise ValueError(
          f'client {client} owns no example: lower num_clients or use another '
          'partition'
        )
    if not 1 <= self.cohort_size <= len(self.partition):
      raise ValueError(
        f'cohort_size={self.cohort_size} must be in [1, num_clients='
        f'{len(self.partition)}]'
      )
    if not 0 <= self.dropout_probability < 1:
      raise ValueError(
        f'dropout_probability={self.dropout_probability} must be in [0, 1)'
      )

  @functools.cached_property
  def num_examples(self) -> np.ndarray:
    """Examples that each client owns: int32 [clients]."""
    return np.array([len(rows) for rows in self.partition], np.int32)

  @property
  def max_count(self) -> int:
    """The largest sample count of a client; 1 where all weigh the same."""
    return int(self._weights.max())

  def examples_trained(self, client_ids: np.ndarray) -> np.ndarray:
    """Returns how many examples clients train on a round, repeats counted."""
    return self.batching.examples_trained(self.num_examples[client_ids])

  def draw(self, round_number: int, attempt: int = 0) -> Draw:
    """Returns who takes part in an attempt at a round, both from 0.

    Another way to draw has to be a function of these two numbers alone, as
    metrics and the clock ask again, and a round is planned before the one
    before has ended; and to draw nobody twice.
    """
    ids = _ids(round_number, attempt)
    generator = host_generator(self.seed, Stream.COHORT, *ids)
    drawn = generator.permutation(len(self.partition))[: self.cohort_size]
    drops = host_generator(self.seed, Stream.DROPOUT, *ids).random(
      self.cohort_size
    )
    reporting = drawn[drops >= self.dropout_probability]
    tiers = np.zeros(len(reporting), np.int32)
    if self.choose_tiers is not None:
      tiers = self.choose_tiers(
        round_number, reporting, self.examples_trained(reporting)
      )
    # A negative tier is that of a client which misses the deadline.
    in_time = tiers >= 0
    return Draw(
      client_ids=reporting[in_time],
      tiers=tiers[in_time],
      num_too_slow=int(np.sum(~in_time)),
      num_dropped=len(drawn) - len(reporting),
    )

  def plan(self, round_number: int, attempt: int = 0) -> CohortPlan:
    """Returns the plan of an attempt at a round, both counted from 0."""
    ids = _ids(round_number, attempt)
    draw = self.draw(round_number, attempt)
    # By falling work, so that devices get alike much (`Placement.arrange`).
    by_work = np.lexsort((draw.client_ids, -self._num_steps[draw.client_ids]))
    rows_per_process = self.placement.rows_per_process(
      len(self.partition), self.cohort_size
    )
    client_ids = self.placement.arrange(
      draw.client_ids[by_work], rows_per_process
    )
    is_present = client_ids >= 0
    by_id = np.argsort(draw.client_ids)
    tiers = np.zeros_like(client_ids)
    places = np.searchsorted(draw.client_ids[by_id], client_ids[is_present])
    tiers[is_present] = draw.tiers[by_id][places]
    own_rows = self.placement.own_rows(rows_per_process)
    return CohortPlan(
      client_ids=client_ids,
      indices=self._batches(client_ids[own_rows], ids),
      num_steps=np.where(is_present, self._num_steps[client_ids], 0),
      num_examples=np.where(is_present, self._weights[client_ids], 0),
      tiers=tiers,
      malicious=is_present & self._is_malicious[client_ids],
    )

  def plan_client(
    self, client: int, round_number: int, attempt: int = 0
  ) -> CohortPlan:
    """Returns one client's row of a plan, which its own examples make.

    Its tier is the first, and no attacker controls it.
    """
    alone = np.array([client], np.int32)
    return CohortPlan(
      client_ids=alone,
      indices=self._batches(alone, _ids(round_number, attempt)),
      num_steps=self._num_steps[alone],
      num_examples=self._weights[alone],
      tiers=np.zeros_like(alone),
      malicious=np.zeros(1, bool),
    )

  def _batches(
    self, client_ids: np.ndarray, ids: tuple[int, ...]
  ) -> np.ndarray:
    """Returns the batches of clients, int32 [C, S, B]; -1 is nobody's."""
    # Shapes are those of the largest client, whoever takes part.
    most_steps = int(self._num_steps.max())
    shape = (len(client_ids), most_steps, self.batching.batch_size)
    indices = np.full(shape, -1, np.int32)
    rows = np.flatnonzero(client_ids >= 0)
    present = client_ids[rows]
    # Each of its own generator, so that it matters to no one who else is there.
    own = generators((self.seed, int(Stream.BATCHES), *ids), present)
    for row, client, generator in zip(
      rows.tolist(), present.tolist(), own, strict=True
    ):
      self.batching.cut(self.partition[client], generator, indices[row])
    return indices

  @functools.cached_property
  def _num_steps(self) -> np.ndarray:
    return self.batching.num_steps(self.num_examples)

  @functools.cached_property
  def _weights(self) -> np.ndarray:
    return weights_of(
      self.num_examples, self.weighs_examples, self.largest_weight
    )

  @functools.cached_property
  def _is_malicious(self) -> np.ndarray:
    return np.isin(np.arange(len(self.partition)), list(self.malicious))


def weights_of(
  num_examples: np.ndarray, weighs_examples: bool, largest_weight: int = 0
) -> np.ndarray:
  """Returns what clients weigh: int32 [clients], at least 1.

  Args:
    num_examples: int32 [clients].
    weighs_examples: as of `CohortPlanner`.
    largest_weight: likewise.
  """
  if not weighs_examples:
    return np.ones_like(num_examples)
  if not largest_weight:
    return num_examples
  parts = largest_weight * (num_examples / num_examples.max())
  return np.maximum(1, np.rint(parts)).astype(np.int32)


def _ids(round_number: int, attempt: int) -> tuple[int, ...]:
  """Returns what tells the draws of an attempt from those of all others."""
  # A first attempt is drawn as if there were no others.
  return (round_number, attempt) if attempt else (round_number,)
