"""What clients share of their updates, a tile at a time."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fps_jax.core.types import (
  Array,
  CohortPlan,
  Key,
  RoundMetrics,
  RoundPlan,
)
from fps_jax.federated import layout
from fps_jax.federated.chunks import Chunk, client_keys, sample_weights
from fps_jax.federated.loops import Turns
from fps_jax.federated.performance import Performance
from fps_jax.federated.roundings import choose_roundings
from fps_jax.privacy.distributed import DistributedPrivacy, Privacy
from fps_jax.privacy.noisy_codec import Draws
from fps_jax.sharing.protocol import SumProtocol


class _Tile(NamedTuple):
  """What is encoded of a tile: as the arguments of `SumProtocol.encode`."""

  values_CxW: Array
  is_count_W: Array
  counts_C: Array
  keys_C: Key | Draws


class Summation(NamedTuple):
  """How the updates of a round are weighted, shared and summed.

  Each update is weighted by num_examples / max_count, in [0, 1], before it is
  lifted, so that the codec's range does not depend on who takes part.

  Attributes:
    protocol: how the sum is formed.
    tiling: how updates are cut.
    plan: of the round; rows with client id -1 add nothing.
    counts_at: of `layout.counts_at`: clients of tier t share what lies before
      the t-th count, and it.
    kept: int32 [`tiling.padded_size`], which entries of an update are its
      values, of `layout.kept_positions`; None to share all in order.
    max_count: largest sample count of a client.
    round_key: key of this round's rounding; every client's draws are folded
      from it by client id.
    performance: chunk size and execution.
    privacy: what bounds contributions; None where nothing does.
    clip: float32 [], the longest that a contribution may be; None likewise.
  """

  protocol: SumProtocol
  tiling: layout.Tiling
  plan: RoundPlan
  counts_at: tuple[layout.Count, ...]
  kept: Array | None
  max_count: int
  round_key: Key
  performance: Performance
  privacy: Privacy | None = None
  clip: Array | None = None

  @property
  def num_tiles(self) -> Array | int:
    """Tiles that hold a value of any client; may be traced."""
    return self.tiling.used(self.counts_at[-1])

  def everyone(self, accepted_C: Array, rows: Any = None) -> Chunk:
    """Returns all clients of the device, with `rows` of their own."""
    keys = self.plan.keys
    dealings = None if keys is None else keys.dealings
    return Chunk(
      self.plan.cohort,
      accepted_C,
      dealings,
      rows,
      noise_Cx8=self.plan.client_noise_Cx8,
    )

  def bound(
    self, chunk: Chunk, sent_CxM: Array, metrics: RoundMetrics
  ) -> tuple[Chunk, RoundMetrics]:
    """Bounds what clients contribute, where anything does.

    Updates that are not finite count as nothing then, and as any other.
    """
    if self.privacy is None or self.clip is None:
      return chunk, metrics
    with jax.named_scope('clip'):
      bounds = self.privacy.bound(sent_CxM, self.clip)
    all_C = jnp.ones_like(metrics.is_finite)
    metrics = dataclasses.replace(metrics, is_finite=all_C)
    return self._round(chunk._replace(bounds=bounds), sent_CxM), metrics

  def _round(self, chunk: Chunk, sent_CxM: Array) -> Chunk:
    """Chooses what bounded values are rounded to, where clients add noise."""
    if not isinstance(self.privacy, DistributedPrivacy):
      return chunk

    def read_tile(tile: Array) -> tuple[Array, Array]:
      return self._read_values(chunk, sent_CxM, tile), tile * self.tiling.size

    assert chunk.noise_Cx8 is not None  # Clients add noise.
    with jax.named_scope('round'):
      draws = choose_roundings(
        self.privacy.codec,
        chunk.noise_Cx8,
        client_keys(self.round_key, chunk.cohort.client_ids),
        read_tile,
        self.turns(True),
      )
    return chunk._replace(draws=draws)

  def turns(self, does_any: Array | bool) -> Turns | Array | int:
    """Returns the turns of a loop over tiles; none unless it does anything."""
    if self.performance.is_cpu:
      return self.num_tiles
    return Turns(
      jnp.where(does_any, self.num_tiles, 0),
      self.tiling.padded_columns // self.tiling.columns,
    )

  def weigh(self, cohort: CohortPlan, values_CxM: Array) -> Array:
    """Returns values of each client times what it weighs."""
    return values_CxM * sample_weights(cohort, self.max_count)[:, None]

  def count_clipped(self, cohort: CohortPlan, weighted_CxM: Array) -> Array:
    """Returns how many weighted values the codec clips, int32 [C]."""
    clipped_C = jax.vmap(self.protocol.count_clipped)(weighted_CxM)
    # Attackers ignore the codec's range.
    return jnp.where(cohort.malicious, 0, clipped_C)

  def add_tile(
    self,
    chunk: Chunk,
    updates_CxM: Array,
    tile: Array,
    alive_C: Array,
    sums: Array,
  ) -> tuple[Array, Array]:
    """Adds a tile of updates to its sums, where the protocol adds words.

    Returns:
      Weighted values [C, W], and sums [R, columns of the tile] with those of
      the clients that are alive.
    """
    first_column = tile * self.tiling.columns
    read = self._read_tile(chunk, updates_CxM, tile)
    words_CxW = jax.vmap(self.protocol.encode, (0, None, 0, 0, None, 0))(
      *read, tile * self.tiling.size, self._breaks_range(chunk)
    )
    ends_C = self._ends(chunk.cohort) - first_column
    sums = self.protocol.add_words(
      sums,
      words_CxW,
      chunk.dealings,
      first_column,
      jnp.where(alive_C, ends_C, 0),
    )
    return read.values_CxW, sums

  def lift_tile(
    self, chunk: Chunk, updates_CxM: Array, tile: Array
  ) -> tuple[Array, Array]:
    """Lifts a tile of a chunk's updates into the sum protocol.

    Returns:
      Weighted values [C, W], and contributions [C, R, columns of the tile].
    """
    first_column = tile * self.tiling.columns
    read = self._read_tile(chunk, updates_CxM, tile)
    contributions = jax.vmap(self.protocol.lift, (0, None, 0, 0, 0, None, 0))(
      *read, chunk.dealings, first_column, self._breaks_range(chunk)
    )
    if len(self.counts_at) > 1:
      columns_W = first_column + jnp.arange(self.tiling.columns)
      is_sent_CxW = columns_W < self._ends(chunk.cohort)[:, None]
      contributions = jnp.where(is_sent_CxW[:, None], contributions, 0)
    return read.values_CxW, contributions

  def _breaks_range(self, chunk: Chunk) -> Array:
    """Returns who ignores the codec's range, bool [C]: of the bounded, none.

    A sum that wraps moves by more than noise is calibrated to.
    """
    if chunk.bounds is None:
      return chunk.cohort.malicious
    return jnp.zeros_like(chunk.cohort.malicious)

  def _ends(self, cohort: CohortPlan) -> Array:
    """Returns how many columns clients send, int32 [C]."""
    if len(self.counts_at) == 1:
      return jnp.full(cohort.tiers.shape, self.tiling.padded_columns, jnp.int32)
    return layout.num_columns(
      jnp.stack(self.counts_at)[cohort.tiers], self.protocol.values_per_column
    )

  def _read_values(
    self, chunk: Chunk, updates_CxM: Array, tile: Array
  ) -> Array:
    """Returns what clients share of a tile before it is encoded, [C, W]."""
    tiling, start = self.tiling, tile * self.tiling.size
    if self.kept is None:
      values_CxW = jax.lax.dynamic_slice_in_dim(
        updates_CxM, start, tiling.size, 1
      )
    else:
      kept_W = jax.lax.dynamic_slice_in_dim(self.kept, start, tiling.size)
      values_CxW = layout.take(updates_CxM, kept_W)
    values_CxW = self.weigh(chunk.cohort, values_CxW)
    if chunk.bounds is not None:
      scales_Cx1 = chunk.bounds.scales_C[:, None]
      # What is not finite is nothing, whatever it is multiplied by.
      values_CxW = jnp.where(scales_Cx1 > 0, values_CxW * scales_Cx1, 0.0)
    if chunk.bounds is not None and chunk.bounds.votes_C is not None:
      places_W = start + jnp.arange(tiling.size)
      values_CxW = jnp.where(
        places_W == self.counts_at[-1] - 1,
        chunk.bounds.votes_C[:, None],
        values_CxW,
      )
    if isinstance(self.privacy, DistributedPrivacy):
      values_CxW = self.privacy.spread(values_CxW, self.plan.noise_8, start)
    return values_CxW

  def _read_tile(self, chunk: Chunk, updates_CxM: Array, tile: Array) -> _Tile:
    cohort, bounds = chunk.cohort, chunk.bounds
    positions_W = tile * self.tiling.size + jnp.arange(self.tiling.size)
    counts_at_T = jnp.stack(self.counts_at)
    return _Tile(
      values_CxW=self._read_values(chunk, updates_CxM, tile),
      is_count_W=jnp.any(positions_W[:, None] == counts_at_T, axis=1),
      counts_C=cohort.num_examples if bounds is None else bounds.counts_C,
      keys_C=(
        client_keys(self.round_key, cohort.client_ids)
        if chunk.draws is None
        else chunk.draws
      ),
    )

  def start_checks(self, chunk: Chunk) -> Array | None:
    """Returns the words that blind the chunk's checks, uint32 [C, Q, N].

    None where clients are not checked.
    """
    auditor = self.protocol.auditor
    if auditor is None or not auditor.checks_clients or chunk.dealings is None:
      return None
    return jax.vmap(auditor.blind)(chunk.dealings.blinds_Kx8)

  def add_checks(
    self, checks_CxQxN: Array | None, contributions_CxNxW: Array, tile: Array
  ) -> Array | None:
    """Adds the servers' combinations of a tile of each client's shares."""
    auditor, keys = self.protocol.auditor, self.plan.keys
    if auditor is None or checks_CxQxN is None:
      return checks_CxQxN
    coefficients_QxW = auditor.coefficients(
      keys.client_coins_Qx8,
      tile * self.tiling.columns,
      contributions_CxNxW.shape[-1],
    )
    combined = jax.vmap(auditor.combine, (0, None))(
      contributions_CxNxW, coefficients_QxW
    )
    return auditor.scheme.field.add(checks_CxQxN, combined)
