"""Who fails in a round: drawn anew for every round, and every attempt at it."""

import dataclasses

from fps_jax.core.rng import Stream, host_generator
from fps_jax.sharing.shamir import Shamir

# What follows a round that cannot be completed.
ON_FAILED_ROUND = ('stop', 'skip', 'retry')


@dataclasses.dataclass(frozen=True)
class ServerFaults:
  """What becomes of servers: some always fail, others with a probability.

  Attributes:
    scheme: of the N servers.
    seed: the run's seed.
    missing: numbers of the servers that never answer.
    lying: numbers of the servers that lie in every round.
    dropout_probability: chance in [0, 1) that a server does not answer in a
      round, independently of the others.
    corruption_probability: chance in [0, 1) that it adds random words to its
      sum.
  """

  scheme: Shamir
  seed: int
  missing: tuple[int, ...] = ()
  lying: tuple[int, ...] = ()
  dropout_probability: float = 0.0
  corruption_probability: float = 0.0

  def answering(self, round_number: int, attempt: int = 0) -> tuple[int, ...]:
    """Returns the numbers of the servers that answer, ascending."""
    dropped = self._draw(
      Stream.SERVER_DROPOUT, self.dropout_probability, round_number, attempt
    )
    return tuple(
      server
      for server in self.scheme.server_points
      if server not in self.missing and server not in dropped
    )

  def lying_in(self, round_number: int, attempt: int = 0) -> tuple[int, ...]:
    """Returns the numbers of the servers that lie, ascending."""
    drawn = self._draw(
      Stream.SERVER_LIE, self.corruption_probability, round_number, attempt
    )
    return tuple(sorted({*self.lying, *drawn}))

  def _draw(
    self, stream: Stream, probability: float, round_number: int, attempt: int
  ) -> list[int]:
    generator = host_generator(self.seed, stream, round_number, attempt)
    draws = generator.random(self.scheme.num_servers)
    return [i + 1 for i, draw in enumerate(draws) if draw < probability]
