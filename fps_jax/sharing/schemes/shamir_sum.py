"""The scheme `shamir`: servers add shares, the central one opens the sum."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array, PlanArray
from fps_jax.sharing import randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.coder import ClientKey, Coder
from fps_jax.sharing.protocol import (
  NO_FAULTS,
  REVEALS,
  Dealing,
  Distort,
  Faults,
  MakeKeys,
  RoundKeys,
  SumProtocol,
)
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.schemes.ideal import Ideal
from fps_jax.sharing.schemes.scheme import MakeCodec, Setup
from fps_jax.sharing.shamir import Shamir

# The number that rows of padding have as unsigned.
_MAX_CLIENT = 2**32 - 2


@dataclasses.dataclass(frozen=True)
class ShamirSum(SumProtocol):
  """Sums of shares.

  Attributes:
    codec: floats to field words.
    shamir: k-of-N sharing over the codec's field.
    present: numbers of the servers that answer when the sum is opened.
    reveal: `'sum'`: each server adds the shares it holds and the central
      server opens only the sum. `'updates'`: the central server opens every
      client's words and adds them itself, as the published text has it.
    auditor: what finds wrong sums and shares, with `reveal='sum'`.
    faults: who does not follow the protocol.

  Raises:
    ValueError: if fewer than k servers are present, the fields differ,
      `reveal` is unknown or what is opened cannot be audited.
  """

  codec: Coder
  shamir: Shamir
  present: Sequence[int]
  reveal: str = 'sum'
  auditor: Auditor | None = None
  faults: Faults = NO_FAULTS

  def __post_init__(self):
    if self.reveal not in REVEALS:
      raise ValueError(f'reveal={self.reveal!r} is not one of {REVEALS}')
    field = self.codec.field
    if field is None or field != self.shamir.field:
      raise ValueError(
        f'the codec uses the prime {field and field.modulus}, the sharing '
        f'scheme {self.shamir.field.modulus}: build both with one field'
      )
    if self._opens_updates and (self.auditor or self.faults.servers_lie):
      raise ValueError(
        "reveal='updates' opens every client's words by themselves, and "
        "neither audits sums nor has any to lie about: use reveal='sum'"
      )
    self.shamir.choose_servers(self.present)

  @property
  def _opens_updates(self) -> bool:
    return self.reveal == 'updates'

  @property
  def values_per_column(self) -> int:
    """The l of the sharing scheme."""
    return self.shamir.secrets_per_polynomial

  @functools.cached_property
  def opening(self) -> np.ndarray:
    """What opens the sums, from which servers: uint32 [L, N]."""
    return self.shamir.opening(self.present)

  def without_auditor(self) -> Self:
    """Returns the same sum, which nobody audits."""
    return dataclasses.replace(self, auditor=None)

  def zeros(self, num_columns: int) -> Array:
    """Returns uint32 [N, W]; [L, W] where updates are opened."""
    num_servers, num_secrets = self.shamir.num_servers, self.values_per_column
    num_rows = num_secrets if self._opens_updates else num_servers
    return jnp.zeros((num_rows, num_columns), jnp.uint32)

  def lift(
    self,
    values: Array,
    is_count: Array,
    count: Array,
    key: ClientKey,
    dealing: Dealing | None,
    first_column: Array | int,
    breaks_range: Array | bool = False,
  ) -> Array:
    """Returns uint32 [N, M / L], the client's shares."""
    assert dealing is not None
    num_secrets, field = self.values_per_column, self.shamir.field
    first = first_column * num_secrets
    # XLA fuses no branch: it would encode anew for every share.
    words = jax.lax.cond(
      first_column >= 0,
      lambda: self.encode(values, is_count, count, key, first, breaks_range),
      lambda: jnp.zeros(values.shape, jnp.uint32),
    )
    secrets_LxW = words.reshape(-1, num_secrets).T
    with jax.named_scope('share'):
      random_ZxW = randomness.uniform(
        dealing.seeds_Zx8, first_column, secrets_LxW.shape[1], field
      )
      shares_NxW = self.shamir.share_with(secrets_LxW, random_ZxW)
    if self.faults.inconsistent_clients:
      error = jnp.where(dealing.is_consistent, jnp.uint32(0), jnp.uint32(1))
      wrong_W = field.add(shares_NxW[-1], error)
      shares_NxW = shares_NxW.at[-1].set(wrong_W)
    return shares_NxW

  def add(
    self, sums: Array, contributions: Array, alive: Array, opening: PlanArray
  ) -> Array:
    """Returns uint32 [N, W], or of opened updates [L, W]."""
    if self._opens_updates:
      open_each = jax.vmap(self.shamir.open_shares, (0, None))
      contributions = open_each(contributions, opening)
    return super().add(sums, contributions, alive, opening)

  @property
  def adds_words(self) -> bool:
    """Whether no single client's shares are opened, or wrong."""
    return not (self._opens_updates or self.faults.inconsistent_clients)

  def add_words(
    self,
    sums: Array,
    words_CxM: Array,
    dealings: Dealing | None,
    first_column: Array | int,
    ends_C: Array,
  ) -> Array:
    """Returns uint32 [N, W].

    The sums of clients' shares are shares of their sum: the values of one
    polynomial, which the sums of their secrets and of their random words fix.
    So none of a single client is computed, and every word is what adding them
    up makes it.
    """
    assert dealings is not None
    num_secrets, field = self.values_per_column, self.shamir.field
    secrets_LxW = self._sum_words(words_CxM, ends_C).reshape(-1, num_secrets).T
    with jax.named_scope('share'):
      random_ZxW = randomness.uniform_sums(
        dealings.seeds_Zx8, ends_C, first_column, secrets_LxW.shape[1], field
      )
      shares_NxW = self.shamir.share_with(secrets_LxW, random_ZxW)
    with jax.named_scope('sum'):
      return field.add(sums, shares_NxW)

  def open(self, sums: Array, opening: PlanArray) -> Array:
    """Returns uint32 [M]."""
    if not self._opens_updates:
      sums = self.shamir.open_shares(sums, opening)
    return sums.T.reshape(-1)

  @property
  def make_keys(self) -> MakeKeys:
    """What draws the keys of a round."""
    return self._make_keys

  @property
  def distort(self) -> Distort | None:
    """What the servers report, where any may lie."""
    return self._distort if self.faults.servers_lie else None

  def _distort(self, sums_NxW: Array, keys: RoundKeys) -> Array:
    field = self.shamir.field
    lies_NxW = randomness.uniform(keys.lies_Nx8, 0, sums_NxW.shape[1], field)
    lies_NxW = jnp.where(keys.is_lying_N[:, None], lies_NxW, jnp.uint32(0))
    return field.add(sums_NxW, lies_NxW)

  def _make_keys(
    self,
    root: np.ndarray,
    round_number: int,
    client_ids: np.ndarray,
    lying_servers: Sequence[int] = (),
    attempt: int = 0,
  ) -> RoundKeys:
    clients = np.asarray(client_ids)
    self._check_parties(clients, lying_servers)
    key = randomness.round_key(root, round_number, attempt)
    lies_root = randomness.root_key(self.faults.seed)
    lies_key = randomness.round_key(lies_root, round_number, attempt)
    num_lies = self.shamir.num_servers if self.faults.servers_lie else 0
    num_checks = self.auditor.num_checks if self.auditor else 0
    return RoundKeys(
      dealings=self._deal(key, clients),
      client_coins_Qx8=randomness.keys(key, Purpose.CHECK_CLIENT, num_checks),
      sketch_coins_Qx8=randomness.keys(key, Purpose.CHECK_SKETCH, num_checks),
      coins_Qx8=randomness.keys(key, Purpose.CHECK, num_checks),
      lies_Nx8=randomness.keys(lies_key, Purpose.LIE, num_lies),
      is_lying_N=np.isin(self.shamir.server_points, lying_servers),
    )

  def _deal(self, key: np.ndarray, clients: np.ndarray) -> Dealing:
    checks_clients = self.auditor is not None and self.auditor.checks_clients
    num_blinds = self.shamir.threshold if checks_clients else 0
    # Rows of padding, -1, are nobody's: their keys are never used.
    owners = clients.astype(np.uint32)
    return Dealing(
      randomness.keys(key, Purpose.SHARE, self.shamir.num_random, owners),
      randomness.keys(key, Purpose.BLIND, num_blinds, owners),
      ~np.isin(clients, self.faults.inconsistent_clients),
    )

  def _check_parties(
    self, clients: np.ndarray, lying_servers: Sequence[int]
  ) -> None:
    cure = 'number clients from 0'
    arrays.check_range('client_ids', clients, -1, _MAX_CLIENT, cure)
    unknown = set(lying_servers) - set(self.shamir.server_points)
    if unknown:
      raise ValueError(
        f'lying_servers={tuple(lying_servers)} must be numbers from 1 to '
        f'{self.shamir.num_servers}: leave out {sorted(unknown)}'
      )


class Shared(Ideal):
  """Servers add up shares, and the central one opens the sum."""

  has_servers = True
  sums_own_masks = False

  def make_sum(self, make_codec: MakeCodec, setup: Setup) -> SumProtocol:
    """Returns the sum of shares."""
    return ShamirSum(
      make_codec(),
      setup.shamir,
      setup.present,
      setup.reveal,
      setup.auditor,
      setup.faults,
    )
