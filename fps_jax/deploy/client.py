"""A client: trains on the model it receives, and seals shares of its update."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from fps_jax.core.types import Array, Examples, PlanArray, RoundPlan, RoundState
from fps_jax.deploy import journal
from fps_jax.deploy.messages import (
  Occasion,
  Reply,
  Request,
  model_digest,
  read,
  read_list,
)
from fps_jax.deploy.sealing import seal
from fps_jax.federated import layout
from fps_jax.federated.broadcast import Received, draw_part, make_train
from fps_jax.federated.method import Method, RoundInput
from fps_jax.federated.sums import train_and_sum
from fps_jax.runs.simulation import Simulation
from fps_jax.sharing import randomness
from fps_jax.sharing.messages import clear, shared
from fps_jax.sharing.messages.header import Header, Kind, scheme_numbers
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.schemes.shamir_sum import ShamirSum


class Draws(NamedTuple):
  """What one update is shared with.

  Attributes:
    root_8: uint32 [8], the key that shares are drawn from.
    rounding_8: uint32 [8], the key of ChaCha20 that rounds its values; None to
      round as a simulation does, by the run's seed.
  """

  root_8: np.ndarray
  rounding_8: np.ndarray | None

  @classmethod
  def fresh(cls) -> 'Draws':
    """Returns those of the operating system."""
    root_8 = randomness.fresh_root_key()
    return cls(root_8, randomness.derive(root_8, Purpose.ROUNDING))

  @classmethod
  def seeded(cls, seed: int) -> 'Draws':
    """Returns those of a simulation: who has the seed has them, too."""
    return cls(randomness.root_key(seed), None)


class Trainer:
  """What the clients of one process have in common in one run.

  Attributes:
    scheme: the sharing scheme.
    num_params: D.
    min_contributors: clients that a sum must be of.
  """

  def __init__(self, simulation: Simulation, data: Examples, draws: str = 'os'):
    """Compiles nothing yet.

    Args:
      simulation: of the run, with the examples of these clients.
      data: their examples, on the device.
      draws: what shares and roundings are drawn from, `'os'` or `'seed'`.
    """
    method = simulation.round.method
    assert isinstance(method.protocol, ShamirSum)
    self._simulation, self._data, self._draws = simulation, data, draws
    self._train = jax.jit(functools.partial(_train, method))
    self._make_keys = method.protocol.make_keys
    self.scheme = method.protocol.shamir
    self.num_params = simulation.accounts.num_params
    self.min_contributors = method.terms.min_contributors

  def share(
    self, client: int, occasion: Occasion, model: bytes
  ) -> tuple[list[bytes], bytes]:
    """Returns what a client trained, and of which model.

    They are the messages for servers 1 .. N, and a `model_digest`.

    Raises:
      ValueError: if the model is not of this round, attempt and client, or what
        was trained is not finite.
    """
    simulation, r = self._simulation, occasion.round
    num_rounds = len(simulation.pruning_plans)
    if r >= num_rounds:
      raise ValueError(f'round {r + 1} is beyond num_rounds={num_rounds}')
    header, params_D, mask_D = clear.decode_model(model, self.num_params)
    header.check_route(round=r, attempt=occasion.attempt, receiver=client)
    pruning = jax.tree.map(np.int32, simulation.pruning_plans[r])
    kept, expected = int(mask_D.sum()), int(pruning.received_counts[-1])
    if kept != expected:
      raise ValueError(
        f'the model keeps {kept} parameters, expected {expected} in '
        f'round {r + 1}: the central server must have the same configuration'
      )
    draws = (
      Draws.fresh() if self._draws == 'os' else Draws.seeded(occasion.seed)
    )
    keys = self._make_keys(
      draws.root_8, r, np.array([client]), attempt=occasion.attempt
    )
    plan = RoundPlan(
      cohort=simulation.planner.plan_client(client, r, occasion.attempt),
      pruning=pruning,
      opening=None,
      keys=keys,
      attempt=np.int32(occasion.attempt),
    )
    state = RoundState(
      round=jax.numpy.int32(r),
      params=jax.numpy.asarray(params_D),
      remembered=None,
      residuals=None,
      optimizer_state=None,
    )
    inputs = RoundInput(state, plan, simulation.key, self._data)
    shares_NxW, is_finite = self._train(inputs, mask_D, draws.rounding_8)
    if not is_finite:
      raise ValueError(
        f'what client {client} trained in round {r + 1} is not finite, and not '
        'shared: lower client.learning_rate'
      )
    seeds_Zx8 = np.asarray(keys.dealings.seeds_Zx8)[0]
    num_values = int(pruning.keep_count)
    messages = self._encode(client, occasion, num_values, seeds_Zx8, shares_NxW)
    return messages, model_digest(params_D, mask_D)

  def _encode(
    self,
    client: int,
    occasion: Occasion,
    num_values: int,
    seeds_Zx8: np.ndarray,
    shares_NxW: Array,
  ) -> list[bytes]:
    scheme, messages = self.scheme, []
    num_words = scheme.num_columns(num_values + 1)
    words_NxW = np.asarray(shares_NxW)[:, :num_words]
    for server in scheme.server_points:
      takes_seed = scheme.seeded and server <= scheme.num_random
      header = Header(
        kind=Kind.SEED if takes_seed else Kind.SHARE,
        round=occasion.round,
        sender=client,
        receiver=server,
        num_values=num_values,
        attempt=occasion.attempt,
        **scheme_numbers(scheme),
      )
      messages.append(
        shared.encode_seed(header, seeds_Zx8[server - 1], scheme)
        if takes_seed
        else shared.encode_share(header, words_NxW[server - 1], scheme)
      )
    return messages


def _train(
  method: Method,
  inputs: RoundInput,
  mask_D: Array,
  rounding_8: PlanArray,
) -> tuple[Array, Array]:
  """Returns one client's shares [N, W], and whether its update is finite.

  They are the sums of a round of this client alone: the code of simulations.
  """
  params_D, plan = inputs.state.params, inputs.plan
  received = Received(params_D, None, None, None, None)
  if method.pruner is not None:
    if plan.pruning.model is not None:
      mask_D = draw_part(method.pruner, inputs, mask_D)
    kept = layout.kept_positions(
      [mask_D],
      method.counts_at(plan.pruning),
      method.protocol.alignment,
      method.tiling.padded_size,
    )
    received = Received(params_D, mask_D, None, kept, None)
  summation = method.summation(inputs, received.kept)
  summation = summation._replace(protocol=method.protocol.without_auditor())
  if rounding_8 is not None:
    summation = summation._replace(round_key=rounding_8)
  sums = train_and_sum(
    make_train(method, received, inputs), summation, jax.numpy.ones(1, bool)
  )
  return sums.held, sums.metrics.is_finite[0]


class Memory:
  """The last occasion of each run that a client has shared on, kept on disk."""

  def __init__(self, path: pathlib.Path):
    """Reads what there is.

    Raises:
      ValueError: if the file is damaged.
    """
    self._path = path
    self._last = dict(journal.read(path, _shared))

  def check(self, occasion: Occasion) -> None:
    """Raises ValueError unless an occasion is after all that were shared on."""
    last = self._last.get(occasion.run.hex())
    if last is not None and occasion.place <= last:
      raise ValueError(
        f'(start, round, attempt) {occasion.place} is not after {last}, on '
        'which this client has shared: an occasion comes once'
      )

  def add(self, occasion: Occasion) -> None:
    """Notes an occasion, before anything that is shared on it leaves."""
    journal.add(self._path, occasion.run.hex(), *occasion.place)
    self._last[occasion.run.hex()] = occasion.place


def _shared(line: str) -> tuple[str, tuple[int, int, int]]:
  """Returns a run, and a place in it that was shared on."""
  run, start, number, attempt = line.split()
  return run, (int(start), int(number), int(attempt))


@dataclasses.dataclass
class Client:
  """A client of a deployment.

  Guarantees:
    - it shares once on an occasion, and on none that is before one that it has
      shared on, however often it is started again;
    - what it shares leaves it sealed, to the keys that it was given.

  Attributes:
    number: from 0.
    trainer: (study, seed) -> the trainer of a run; a ValueError if there is
      none.
    signing_key: its own.
    sealing_keys: of servers 1 .. N.
    memory: of what it has shared.
  """

  number: int
  trainer: Callable[[str, int], Trainer]
  signing_key: bytes
  sealing_keys: Sequence[bytes]
  memory: Memory

  def answer(self, leg: str, request: Request) -> Reply:
    """Returns the answer to a request; a refusal if it is not to be met."""
    try:
      if leg != 'train':
        raise ValueError(f'leg {leg!r} is none of a client')
      return self._train(request)
    except ValueError as error:
      return {'refusal': str(error)}

  def _train(self, request: Request) -> Reply:
    occasion = Occasion.read(request)
    cohort = read_list(request, 'cohort', int)
    model = read(request, 'model', bytes)
    trainer = self.trainer(occasion.study, occasion.seed)
    if self.number not in cohort:
      raise ValueError(f'client {self.number} is not of the cohort {cohort}')
    if len(cohort) < trainer.min_contributors:
      raise ValueError(
        f'a cohort of {len(cohort)} is smaller than sharing.min_contributors='
        f'{trainer.min_contributors}'
      )
    self.memory.check(occasion)
    messages, digest = trainer.share(self.number, occasion, model)
    labels = [
      occasion.label(self.number, server, cohort, digest)
      for server in trainer.scheme.server_points
    ]
    self.memory.add(occasion)
    return {
      'sealed': [
        seal(message, label, key, self.signing_key)
        for message, label, key in zip(
          messages, labels, self.sealing_keys, strict=True
        )
      ]
    }
