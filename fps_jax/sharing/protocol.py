"""How the sum over clients is formed: in the clear, ideally, or from shares.

A protocol is a NamedTuple of pure functions (as in optax), written for one
client and one tile of columns; who calls them for thousands of clients is
`fps_jax.federated.parallel`. Everything after `lift` is exact in the schemes
that use a codec, so neither the order of clients nor their grouping matters.

What each scheme adds up, and who learns what:

- `none`: float32 values; the central server learns every update;
- `quantised`: values as the codec rounds them; it learns every update, too;
- `ideal`: field words, without any sharing, as a trusted third party would;
- `shamir`: at each server, shares of field words; the central server learns
  the sum, and of single updates what is opened for a defence; or every update
  with `reveal='updates'`.

Who has the model before and after a round learns its mean update, whatever the
scheme: README, "Who learns what", has all that each party sees.

A column is l values, l = 1 unless the sharing scheme packs them.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core import arrays
from fps_jax.core.types import Array, Key, PlanArray
from fps_jax.sharing import randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.randomness import Purpose
from fps_jax.sharing.shamir import Shamir

SCHEMES = {
  'none': 'Clients send float32 values to the central server.',
  'quantised': 'Clients send it values of a few bits.',
  'ideal': 'The sums and the bytes of shamir, without its arithmetic.',
  'shamir': 'Servers add up shares, and the central one opens the sum.',
}
# Those in which clients send their values to the central server.
CLEAR_SCHEMES = ('none', 'quantised')
REVEALS = ('sum', 'updates')
# The number that rows of padding have as unsigned.
_MAX_CLIENT = 2**32 - 2


class Dealing(NamedTuple):
  """What one client draws on when it shares its update in a round.

  Attributes:
    seeds_Tx8: uint32 [T, 8], the seeds of servers 1 .. t.
    blinds_Kx8: uint32 [K, 8], for the words that blind its check; [0, 8] where
      clients are not checked.
    is_consistent: bool [], whether it deals shares of one polynomial each.
  """

  seeds_Tx8: PlanArray
  blinds_Kx8: PlanArray
  is_consistent: PlanArray


class RoundKeys(NamedTuple):
  """What a round draws on.

  Attributes:
    dealings: arrays of `Dealing` with a leading axis of clients.
    client_coins_Qx8: uint32 [Q, 8], public coins of the checks of clients,
      drawn once shares are fixed.
    sketch_coins_Qx8: uint32 [Q, 8], those of the audit of sketches, drawn once
      sketches are.
    coins_Qx8: uint32 [Q, 8], those of the audit of sums, drawn once sums over
      the accepted clients are.
    lies_Nx8: uint32 [N, 8], what servers that lie add to their sums; [0, 8]
      where none ever does.
    is_lying_N: bool [N], which do in this round.
  """

  dealings: Dealing
  client_coins_Qx8: PlanArray
  sketch_coins_Qx8: PlanArray
  coins_Qx8: PlanArray
  lies_Nx8: PlanArray
  is_lying_N: PlanArray


@dataclasses.dataclass(frozen=True)
class Faults:
  """Who does not follow the protocol.

  Attributes:
    servers_lie: whether servers may add uniformly random words to their sums:
      those that `make_keys` is given.
    inconsistent_clients: numbers of clients that deal server N a share one
      larger than the polynomial's.
    seed: the run's seed, which lies are drawn from: whatever shares are, a
      faulty run is the same again.
  """

  servers_lie: bool = False
  inconsistent_clients: tuple[int, ...] = ()
  seed: int = 0


_NO_FAULTS = Faults()


class SumProtocol(NamedTuple):
  """The steps of a sum over clients. `R` is the rows that are held (servers).

  A vector holds weighted values and, in one entry a band, the client's sample
  count, so that a single one is hidden as values are (but for a client that is
  alone in its tier, if the band of the next tier is opened, too). It is held in
  columns of `values_per_column` consecutive values.

  Guarantees:
    - what `open` and `decode` make of `add`ed, `lift`ed values is their sum,
      to the codec's rounding where there is a codec; sums of counts are exact
      up to 2^24;
    - a client whose `alive` is False does not influence the sum.

  Attributes:
    zeros: int columns W -> [R, W], an empty sum.
    lift: (values float32 [M], is_count bool [M], count int32 [], rounding key
      of the client and round, `Dealing`, first column, a multiple of 16, bool
      [], whether the client ignores the codec's range) -> contribution of one
      client [..., W]; where `is_count` is True it carries `count` for the
      value.
    add: (sums [R, W], contributions [C, ...], alive bool [C], opening) ->
      [R, W].
    add_devices: sums [R, W] of the clients of one device, as a program of many
      runs on each, and the names of its mesh axes -> [R, W], those of all.
    open: (sums [R, W], opening) -> [M], the sum, still encoded.
    field: that words are of; None where values are added as they are.
    largest: integer that an honest client's value stands for at most.
    decode: opened [M] -> float32 [M], values.
    decode_count: opened -> float32, counts.
    count_clipped: values float32 -> int32 [], values beyond the clip.
    values_per_column: l.
    alignment: bands of clients that share prefixes start at its multiples.
    opening: what opens the sums, from which servers: uint32 [L, N]; None where
      there are no servers.
    make_keys: (root key, round, client numbers [C], numbers of the servers that
      lie, attempt at the round) -> `RoundKeys`; on the host, before the round;
      None where nothing is shared.
    distort: (sums [R, W], `RoundKeys`) -> [R, W], what the servers report;
      None where all are honest.
    auditor: what finds wrong sums and shares; None where nothing does.
  """

  zeros: Callable[[int], Array]
  lift: Callable[..., Array]
  add: Callable[[Array, Array, Array, Array | np.ndarray | None], Array]
  add_devices: Callable[[Array, tuple[str, ...]], Array]
  open: Callable[[Array, Array | np.ndarray | None], Array]
  decode: Callable[[Array], Array]
  decode_count: Callable[[Array], Array]
  count_clipped: Callable[[Array], Array]
  field: PrimeField | None = None
  largest: int = 0
  values_per_column: int = 1
  alignment: int = 1
  opening: Array | np.ndarray | None = None
  make_keys: Callable[..., RoundKeys] | None = None
  distort: Callable[[Array, RoundKeys], Array] | None = None
  auditor: Auditor | None = None


def plain_sum() -> SumProtocol:
  """Returns the scheme `none`: float32 values added as they are.

  Unlike sums in the field, this one depends on the order of its terms, in the
  last bits.
  """

  def lift(
    values, is_count, count, key, dealing, first_column, breaks_range=False
  ):
    # Nothing is drawn, and there is no range.
    del key, dealing, first_column, breaks_range
    _check_lifted(values, is_count)
    return jnp.where(is_count, count.astype(jnp.float32), values)[None]

  def add(sums, contributions, alive, opening):
    live = jnp.where(alive[:, None, None], contributions, 0.0)
    return sums + jnp.sum(live, axis=0)

  return SumProtocol(
    zeros=lambda size: jnp.zeros((1, size), jnp.float32),
    lift=lift,
    add=add,
    add_devices=jax.lax.psum,
    open=lambda sums, opening: sums[0],
    decode=lambda opened: opened,
    decode_count=lambda opened: opened,
    count_clipped=lambda values: jnp.zeros((), jnp.int32),
  )


def ideal_sum(codec: Codec, alignment: int = 1) -> SumProtocol:
  """Returns the schemes `ideal` and `quantised`: words that nobody shares.

  `ideal` is the functionality that the protocol realises, for fast studies: the
  opened sums equal those of `shamir` bit for bit, and as many bytes are
  counted. `quantised` has the same sums, and the bytes of values sent in the
  clear (as A. Reisizadeh et al., FedPAQ, AISTATS 2020).

  Args:
    codec: floats to field words.
    alignment: the l of the sharing scheme, so that bands lie as they do there.

  Raises:
    ValueError: if `alignment` is below 1.
  """
  arrays.check_integer('alignment', alignment, 1)

  def lift(
    values, is_count, count, key, dealing, first_column, breaks_range=False
  ):
    del dealing
    _check_lifted(values, is_count)
    return _encode(
      codec, values, is_count, count, key, first_column, breaks_range
    )[None]

  def add(sums, contributions, alive, opening):
    words = jnp.where(alive[:, None, None], contributions, jnp.uint32(0))
    return codec.field.add(sums, codec.field.sum(words))

  return SumProtocol(
    zeros=lambda size: jnp.zeros((1, size), jnp.uint32),
    lift=lift,
    add=add,
    add_devices=codec.field.sum_devices,
    open=lambda sums, opening: sums[0],
    decode=codec.decode,
    decode_count=codec.decode_count,
    count_clipped=codec.count_clipped,
    field=codec.field,
    largest=codec.levels,
    alignment=alignment,
  )


def shamir_sum(
  codec: Codec,
  scheme: Shamir,
  present: Sequence[int],
  reveal: str = 'sum',
  auditor: Auditor | None = None,
  faults: Faults = _NO_FAULTS,
) -> SumProtocol:
  """Returns the scheme `shamir`: servers add shares, the central one opens.

  Args:
    codec: floats to field words.
    scheme: k-of-N sharing over the codec's field.
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
  if reveal not in REVEALS:
    raise ValueError(f'reveal={reveal!r} is not one of {REVEALS}')
  if codec.field != scheme.field:
    raise ValueError(
      f'the codec uses the prime {codec.field.modulus}, the sharing scheme '
      f'{scheme.field.modulus}: build both with one field'
    )
  ideal = ideal_sum(codec)
  opens_updates = reveal == 'updates'
  if opens_updates and (auditor or faults.servers_lie):
    raise ValueError(
      "reveal='updates' opens every client's words by themselves, and neither "
      "audits sums nor has any to lie about: use reveal='sum'"
    )
  num_secrets = scheme.secrets_per_polynomial

  servers = np.array(scheme.server_points)
  lies_root = randomness.root_key(faults.seed)

  def make_keys(root, round_number, client_ids, lying_servers=(), attempt=0):
    clients = np.asarray(client_ids)
    arrays.check_range(
      'client_ids', clients, -1, _MAX_CLIENT, 'number clients from 0'
    )
    unknown = set(lying_servers) - set(scheme.server_points)
    if unknown:
      raise ValueError(
        f'lying_servers={tuple(lying_servers)} must be numbers from 1 to '
        f'{scheme.num_servers}: leave out {sorted(unknown)}'
      )
    key = randomness.round_key(root, round_number, attempt)
    num_blinds = scheme.threshold if auditor and auditor.checks_clients else 0
    num_checks = auditor.num_checks if auditor else 0

    def client_keys(purpose, num_keys):
      # Rows of padding, -1, are nobody's: their keys are never used.
      owners = clients.astype(np.uint32)
      return randomness.keys(key, purpose, num_keys, owners)

    return RoundKeys(
      dealings=Dealing(
        seeds_Tx8=client_keys(Purpose.SHARE, scheme.num_random),
        blinds_Kx8=client_keys(Purpose.BLIND, num_blinds),
        is_consistent=~np.isin(client_ids, faults.inconsistent_clients),
      ),
      client_coins_Qx8=randomness.keys(key, Purpose.CHECK_CLIENT, num_checks),
      sketch_coins_Qx8=randomness.keys(key, Purpose.CHECK_SKETCH, num_checks),
      coins_Qx8=randomness.keys(key, Purpose.CHECK, num_checks),
      lies_Nx8=randomness.keys(
        randomness.round_key(lies_root, round_number, attempt),
        Purpose.LIE,
        scheme.num_servers if faults.servers_lie else 0,
      ),
      is_lying_N=np.isin(servers, lying_servers),
    )

  def lift(
    values, is_count, count, key, dealing, first_column, breaks_range=False
  ):
    _check_lifted(values, is_count)
    first = first_column * num_secrets
    # XLA fuses no branch: it would encode anew for every share.
    words = jax.lax.cond(
      first_column >= 0,
      lambda: _encode(codec, values, is_count, count, key, first, breaks_range),
      lambda: jnp.zeros(values.shape, jnp.uint32),
    )
    secrets_LxW = words.reshape(-1, num_secrets).T
    with jax.named_scope('share'):
      random_TxW = randomness.uniform(
        dealing.seeds_Tx8, first_column, secrets_LxW.shape[1], scheme.field
      )
      shares_NxW = scheme.share_with(secrets_LxW, random_TxW)
    if faults.inconsistent_clients:
      error = jnp.where(dealing.is_consistent, jnp.uint32(0), jnp.uint32(1))
      wrong_W = scheme.field.add(shares_NxW[-1], error)
      shares_NxW = shares_NxW.at[-1].set(wrong_W)
    return shares_NxW

  def add(sums, shares_CxNxW, alive, opening):
    if opens_updates:
      open_each = jax.vmap(scheme.open_shares, (0, None))
      return ideal.add(sums, open_each(shares_CxNxW, opening), alive, opening)
    return ideal.add(sums, shares_CxNxW, alive, opening)

  def open_sums(sums, opening):
    secrets_LxW = sums if opens_updates else scheme.open_shares(sums, opening)
    return secrets_LxW.T.reshape(-1)

  def distort(sums_NxW, keys):
    lies_NxW = randomness.uniform(
      keys.lies_Nx8, 0, sums_NxW.shape[1], scheme.field
    )
    lies_NxW = jnp.where(keys.is_lying_N[:, None], lies_NxW, jnp.uint32(0))
    return scheme.field.add(sums_NxW, lies_NxW)

  num_rows = num_secrets if opens_updates else scheme.num_servers
  return ideal._replace(
    zeros=lambda size: jnp.zeros((num_rows, size), jnp.uint32),
    lift=lift,
    add=add,
    open=open_sums,
    values_per_column=num_secrets,
    alignment=num_secrets,
    opening=scheme.opening(present),
    make_keys=make_keys,
    distort=distort if faults.servers_lie else None,
    auditor=auditor,
  )


def _check_lifted(values: Array, is_count: Array) -> None:
  arrays.check('values', values, np.float32, ('M',))
  arrays.check('is_count', is_count, bool, values.shape)


def _encode(
  codec: Codec,
  values: Array,
  is_count: Array,
  count: Array,
  key: Key,
  first: Array,
  breaks_range: Array | bool,
) -> Array:
  """Returns a client's words: its values and, where told, its count."""
  with jax.named_scope('encode'):
    words = codec.encode(values, key, first, breaks_range)
    return jnp.where(is_count, codec.encode_count(count), words)
