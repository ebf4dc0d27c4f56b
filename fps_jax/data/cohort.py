"""Who takes part in a round, and on which examples: made on the host.

The training set sits once on the device; a client is a list of its rows.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from fps_jax.core.devices import Placement
from fps_jax.core.rng import Stream, host_generator
from fps_jax.core.types import CohortPlan

_ONE_DEVICE = Placement()

# (round, client numbers [C], examples trained on [C]) -> int32 [C], the tier of
# each, negative for those that cannot take part.
ChooseTiers = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


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


class CohortPlanner:
  """Draws cohorts and cuts clients' examples into batches.

  Guarantees:
    - the plan depends on (seed, round, attempt) alone, and a client's batches
      on these and the client: not on who else takes part;
    - a client's epoch holds each of its examples exactly once;
    - who takes part on what does not depend on the placement;
    - every round's plan has the same shapes, so nothing is compiled again.

  Attributes:
    cohort_size: clients drawn a round.
    max_count: largest sample count of a client; 1 where all weigh the same.
    num_examples: int32 [clients], examples that each owns.
  """

  def __init__(
    self,
    partition: Sequence[np.ndarray],
    *,
    seed: int,
    cohort_size: int,
    batch_size: int,
    epochs: int,
    steps: int = 0,
    dropout_probability: float = 0.0,
    choose_tiers: ChooseTiers | None = None,
    weighs_examples: bool = True,
    malicious: Collection[int] = (),
    placement: Placement = _ONE_DEVICE,
  ):
    """Prepares plans.

    Args:
      partition: rows of the training set that each client owns; none empty.
      seed: the run's seed.
      cohort_size: clients drawn a round, in [1, number of clients].
      batch_size: B, at least 1.
      epochs: passes over a client's examples a round, at least 1; a pass
        ends with a smaller batch where B does not divide the count.
      steps: if above 0, each client takes this many steps instead, going
        round its examples as often as that needs, in full batches or, if it
        owns fewer than B examples, in batches of all it owns.
      dropout_probability: chance in [0, 1) that a drawn client never reports,
        independently of the others.
      choose_tiers: how much of the model each client trains; None where all
        train the same.
      weighs_examples: whether clients weigh as much as they have examples;
        otherwise all weigh the same.
      malicious: clients that an attacker controls.
      placement: where clients run.

    Raises:
      ValueError: if an argument is out of range or a client owns nothing.
    """
    for client, rows in enumerate(partition):
      if not len(rows):
        raise ValueError(
          f'client {client} owns no example: lower num_clients or use another '
          'partition'
        )
    if not 1 <= cohort_size <= len(partition):
      raise ValueError(
        f'cohort_size={cohort_size} must be in [1, num_clients='
        f'{len(partition)}]'
      )
    if batch_size < 1 or epochs < 1 or steps < 0:
      raise ValueError(
        f'batch_size={batch_size} and epochs={epochs} must be at least 1, '
        f'steps={steps} at least 0 (0 means: by epochs)'
      )
    if not 0 <= dropout_probability < 1:
      raise ValueError(
        f'dropout_probability={dropout_probability} must be in [0, 1)'
      )
    self.cohort_size = cohort_size
    self._partition = partition
    self._seed = seed
    self._batch_size = batch_size
    self._epochs = epochs
    self._steps = steps
    self._dropout_probability = dropout_probability
    self._choose_tiers = choose_tiers
    self._placement = placement
    self._rows_per_process = placement.rows_per_process(
      len(partition), cohort_size
    )
    counts = np.array([len(rows) for rows in partition])
    self.num_examples = counts.astype(np.int32)
    self._weights = (
      self.num_examples if weighs_examples else np.ones_like(self.num_examples)
    )
    self.max_count = int(self._weights.max())
    self._is_malicious = np.isin(np.arange(len(partition)), list(malicious))
    # Shapes are those of the largest client, whoever takes part.
    self._num_steps = (
      np.full_like(self.num_examples, steps)
      if steps
      else (epochs * -(-counts // batch_size)).astype(np.int32)
    )

  def examples_trained(self, client_ids: np.ndarray) -> np.ndarray:
    """Returns how many examples clients train on a round, repeats counted."""
    if not self._steps:
      return self._epochs * self.num_examples[client_ids]
    filled = np.minimum(self._batch_size, self.num_examples[client_ids])
    return self._steps * filled

  def draw(self, round_number: int, attempt: int = 0) -> Draw:
    """Returns who takes part in an attempt at a round, both from 0."""
    ids = _ids(round_number, attempt)
    generator = host_generator(self._seed, Stream.COHORT, *ids)
    drawn = generator.permutation(len(self._partition))[: self.cohort_size]
    drops = host_generator(self._seed, Stream.DROPOUT, *ids).random(
      self.cohort_size
    )
    reporting = drawn[drops >= self._dropout_probability]
    tiers = np.zeros(len(reporting), np.int32)
    if self._choose_tiers is not None:
      tiers = self._choose_tiers(
        round_number, reporting, self.examples_trained(reporting)
      )
    in_time = tiers >= 0
    return Draw(
      client_ids=reporting[in_time],
      tiers=tiers[in_time],
      num_too_slow=int(np.sum(~in_time)),
      num_dropped=len(drawn) - len(reporting),
    )

  def plan(self, round_number: int, attempt: int = 0) -> CohortPlan:
    """Returns the plan of an attempt at a round, both counted from 0."""
    draw = self.draw(round_number, attempt)
    tier_of = dict(zip(draw.client_ids.tolist(), draw.tiers, strict=True))
    ordered = sorted(draw.client_ids, key=lambda c: (-self._num_steps[c], c))
    client_ids = self._placement.arrange(ordered, self._rows_per_process)
    is_present = client_ids >= 0
    tiers = [tier_of.get(client, 0) for client in client_ids.tolist()]

    own_ids = client_ids[self._placement.own_rows(self._rows_per_process)]
    shape = (len(own_ids), int(self._num_steps.max()), self._batch_size)
    indices = np.full(shape, -1, np.int32)
    for row, client in enumerate(own_ids):
      if client >= 0:
        ids = _ids(round_number, attempt)
        batches = self._batches(ids, int(client))
        indices[row, : len(batches)] = batches
    return CohortPlan(
      client_ids=client_ids,
      indices=indices,
      num_steps=np.where(is_present, self._num_steps[client_ids], 0),
      num_examples=np.where(is_present, self._weights[client_ids], 0),
      tiers=np.array(tiers, np.int32),
      malicious=is_present & self._is_malicious[client_ids],
    )

  def _batches(self, ids: tuple[int, ...], client: int) -> np.ndarray:
    """Returns a client's batches of a round: int32 [steps, B]."""
    generator = host_generator(self._seed, Stream.BATCHES, *ids, client)
    owned, size = self._partition[client], self._batch_size
    if self._steps:
      filled = min(size, len(owned))
      num_epochs = -(-self._steps * filled // len(owned))
      order = np.concatenate(
        [generator.permutation(owned) for _ in range(num_epochs)]
      )
      batches = order[: self._steps * filled].reshape(self._steps, filled)
      padding = ((0, 0), (0, size - filled))
      return np.pad(batches, padding, constant_values=-1)
    per_epoch = -(-len(owned) // size)
    missing = per_epoch * size - len(owned)
    epochs = [
      np.pad(generator.permutation(owned), (0, missing), constant_values=-1)
      for _ in range(self._epochs)
    ]
    return np.concatenate(epochs).reshape(-1, size)


def _ids(round_number: int, attempt: int) -> tuple[int, ...]:
  """Returns what tells the draws of an attempt from those of all others."""
  return (round_number, attempt) if attempt else (round_number,)
