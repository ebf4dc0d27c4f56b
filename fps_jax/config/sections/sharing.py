"""The section `sharing`: how updates are sent, summed and opened."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fps_jax.config.checks import above_zero, boolean, choice, row, whole
from fps_jax.config.section import Field, Section, collect
from fps_jax.config.sections.client import make_factors
from fps_jax.core.devices import gather
from fps_jax.privacy import rotation
from fps_jax.privacy.distributed import (
  AS_KEPT,
  DistributedPrivacy,
  Privacy,
  Shared,
)
from fps_jax.runs.costs.message_bytes import ByteCounter
from fps_jax.sharing import randomness
from fps_jax.sharing.audit import AUDITS, Auditor
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.coder import Coder
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import REVEALS, Faults, SumProtocol
from fps_jax.sharing.randomness import ENTROPIES
from fps_jax.sharing.schemes import SCHEMES
from fps_jax.sharing.schemes.scheme import Scheme, Setup
from fps_jax.sharing.shamir import Shamir

# Matrices of sharing take time with the cube of the servers.
MAX_SERVERS = 256
# Of jobs that compare several.
SERVERS = row('(N, k, l)', *[whole(1, MAX_SERVERS)] * 3)


def prime(value: Any) -> Iterator[str]:
  """Checks a prime whose field has words of 32 bits."""
  try:
    PrimeField(value)
  except (TypeError, ValueError):
    yield (
      'is not a prime in [2, 2**31): use one such as 2**31 - 1 (2147483647) or '
      '2**22 - 3 (4194301)'
    )


def _scheme(config: ConfigDict) -> Iterator[str]:
  yield from collect('sharing', lambda: make_shamir(config.sharing))


def _reveal(config: ConfigDict) -> Iterator[str]:
  sharing, faults = config.sharing, config.faults
  if sharing.reveal == 'updates' and (
    faults.lying_servers or sharing.audit == 'clients'
  ):
    yield (
      "sharing.reveal='updates' opens every client's words by themselves: it "
      f'has no sums for lying_servers={faults.lying_servers} to lie about, '
      f"and no audit={sharing.audit!r}; use reveal='sum', or audit='none' and "
      'no lying_servers'
    )


def _client_audit(config: ConfigDict) -> Iterator[str]:
  """Shares that can be checked are more than those that fix a polynomial."""
  sharing, missing = config.sharing, config.faults.missing_servers
  num_present = sharing.num_servers - len(missing)
  if (
    scheme_of(config).has_servers
    and sharing.reveal == 'sum'
    and sharing.audit == 'clients'
    and num_present == sharing.threshold
  ):
    yield (
      f"sharing.audit='clients' with sharing.num_servers={sharing.num_servers}"
      f', faults.missing_servers={missing} and sharing.threshold='
      f'{sharing.threshold}: any {num_present} shares fit together, so no '
      'client would be checked; lower the threshold, add servers, or set '
      "audit='none'"
    )


def _answers(config: ConfigDict) -> Iterator[str]:
  sharing = config.sharing
  most = sharing.num_servers - len(config.faults.missing_servers)
  least = sharing.min_answers
  if least and not sharing.threshold <= least <= most:
    yield (
      f'sharing.min_answers={least} must be 0 or from sharing.threshold='
      f'{sharing.threshold} to the {most} servers that answer'
    )


def _codec(config: ConfigDict) -> Iterator[str]:
  """Sums of values must fit the field; those of counts depend on the data."""
  if scheme_of(config).has_codec and not clients_add_noise(config):
    yield from collect('sharing', lambda: make_codec(config, max_count=1))


def _contributors(config: ConfigDict) -> Iterator[str]:
  least = config.sharing.min_contributors
  if is_shared(config) and least > config.cohort.size:
    yield (
      f'sharing.min_contributors={least} must be at most cohort.size='
      f'{config.cohort.size}: no sum would ever be opened'
    )


SECTION = Section(
  'sharing',
  {
    'scheme': Field(
      'shamir', choice(SCHEMES), 'none, quantised, ideal, shamir'
    ),
    'reveal': Field(
      'sum', choice(REVEALS), 'or updates: central sees every update'
    ),
    'num_servers': Field(5, whole(1, MAX_SERVERS), 'N'),
    'threshold': Field(
      3, whole(1, MAX_SERVERS), 'k: any k servers reconstruct'
    ),
    'secrets_per_polynomial': Field(
      1, whole(1, MAX_SERVERS), 'l: shares of k - l hide it'
    ),
    'seeded': Field(True, boolean, 'k - l shares travel as seeds of 32 bytes'),
    'entropy': Field(
      'seed', choice(ENTROPIES), 'or os: fresh keys from the system'
    ),
    'prime': Field(2**31 - 1, prime, '2**22 - 3 = 4194301 makes shorter words'),
    'min_contributors': Field(
      2,
      whole(1),
      'a sum over fewer clients is not opened, and weights of a defence under '
      'which it hides fewer are lowered (federated/robust/hide.py); not read '
      'in the clear',
    ),
    'value_bits': Field(8, whole(2, 16), 'of a value, sign included'),
    'clip': Field(
      0.25,
      above_zero,
      "largest magnitude of a weighted update's entry, times the factor of "
      'client.schedule in the round; without that factor under privacy',
    ),
    'largest_weight': Field(
      0,
      whole(0, 2**31 - 1),
      'above 0: weights by examples are rounded to whole parts of the largest, '
      'which is this; smaller sums fit shorter words',
    ),
    'min_answers': Field(
      0,
      whole(0, MAX_SERVERS),
      'fewer answers open nothing; 0: k; more than k let wrong ones be noticed',
    ),
    'audit': Field(
      'servers',
      choice(AUDITS),
      'finds wrong sums if more than k servers answer; clients checks what '
      "clients deal, too; none opens from any k; not with reveal='updates'",
    ),
  },
  (_scheme, _reveal, _client_audit, _answers, _codec, _contributors),
)


def scheme_of(config: ConfigDict) -> Scheme:
  """Returns how a config's clients send their updates."""
  return SCHEMES[config.sharing.scheme]


def is_shared(config: ConfigDict) -> bool:
  """Returns whether the central server gets no update as it is."""
  return not scheme_of(config).is_clear


def make_shamir(sharing: ConfigDict) -> Shamir:
  """Returns the numbers of servers of a config's section `sharing`.

  Raises:
    ValueError: if they do not fit.
  """
  return Shamir(
    PrimeField(sharing.prime),
    sharing.num_servers,
    sharing.threshold,
    sharing.secrets_per_polynomial,
    sharing.seeded,
  )


def make_root_key(entropy: str, seed: int) -> np.ndarray:
  """Returns the root key of a run, the same in all processes: uint32 [8].

  Arguments and errors as of `randomness.make_root_key`.
  """
  root_8 = randomness.make_root_key(entropy, seed)
  if entropy == 'os':
    # Each process draws its own: all take that of the first one.
    root_8 = gather(root_8)[0]
  return root_8


def make_setup(config: ConfigDict, seed: int, num_opened_columns: int) -> Setup:
  """Returns what schemes ask of a config.

  Args:
    config: the config of one variant, valid.
    seed: the run's seed.
    num_opened_columns: words that each server sends of each client for a
      defence.
  """
  sharing, faults = config.sharing, config.faults
  shamir = make_shamir(sharing)
  present = shamir.present_without(faults.missing_servers)
  return Setup(
    shamir,
    present,
    sharing.value_bits,
    sharing.reveal,
    _make_auditor(sharing, shamir, present),
    Faults(
      bool(faults.lying_servers or faults.server_corruption_probability),
      tuple(faults.inconsistent_clients),
      seed,
    ),
    num_opened_columns,
  )


def _make_auditor(
  sharing: ConfigDict, shamir: Shamir, present: tuple[int, ...]
) -> Auditor | None:
  """Returns what looks for wrong sums and shares, or None for nothing."""
  if sharing.audit == 'none' or sharing.reveal == 'updates':
    return None
  if len(present) == shamir.threshold:
    # Any k shares are those of some polynomial: there is nothing to notice.
    return None
  return Auditor(shamir, present, checks_clients=sharing.audit == 'clients')


def min_contributors(config: ConfigDict) -> int:
  """Returns how many clients a sum must be of; in the clear, one is enough."""
  if not is_shared(config):
    return 1
  return max(config.sharing.min_contributors, min_honest(config))


def min_honest(config: ConfigDict) -> int:
  """Returns how many clients' noise a sum must have; 0 where they add none."""
  if not clients_add_noise(config):
    return 0
  return config.privacy.min_honest or config.cohort.size


def clients_add_noise(config: ConfigDict) -> bool:
  """Returns whether words of values are those of a noisy codec."""
  return config.privacy.mode == 'distributed'


def min_answers(config: ConfigDict) -> int:
  """Returns how many servers must answer for a sum to be opened."""
  return config.sharing.min_answers or config.sharing.threshold


def make_codec(config: ConfigDict, max_count: int) -> Codec:
  """Returns floats to field words, of a cohort's largest sample count.

  Raises:
    ValueError: if a sum could wrap.
  """
  return Codec(
    field=PrimeField(config.sharing.prime),
    clip=config.sharing.clip,
    value_bits=config.sharing.value_bits,
    max_clients=config.cohort.size,
    max_count=max_count,
  )


def make_units(config: ConfigDict) -> np.ndarray | None:
  """Returns the units in which updates are rounded: `Method.units_R`.

  Updates shrink with the learning rate. In these units so does the distance
  between values that words stand for, and with it what rounding adds.
  """
  has_codec = scheme_of(config).has_codec
  return make_factors(config, 'client') if has_codec else None


def make_protocol(
  config: ConfigDict,
  setup: Setup,
  max_count: int,
  privacy: Privacy | None = None,
) -> SumProtocol:
  """Returns how a config's sums are formed.

  Args:
    config: the config of one variant.
    setup: of `make_setup`.
    max_count: largest sample count of a client.
    privacy: the noise of sums; None where nobody adds any.

  Raises:
    ValueError: if a sum could wrap.
  """

  def make() -> Coder:
    if isinstance(privacy, DistributedPrivacy):
      return privacy.codec
    return make_codec(config, privacy.largest_count if privacy else max_count)

  return scheme_of(config).make_sum(make, setup)


def make_byte_counter(
  config: ConfigDict, setup: Setup, num_params: int, has_own_masks: bool
) -> ByteCounter:
  """Returns what counts the bytes of a round, the audit's included.

  Args:
    config: the config of one variant.
    setup: of `make_setup`.
    num_params: D.
    has_own_masks: whether each client chooses what it sends.
  """
  channel = scheme_of(config).make_channel(setup)
  return ByteCounter(
    num_params,
    channel,
    has_own_masks,
    min_contributors(config),
    shared_values(config),
  )


def shared_values(config: ConfigDict) -> Shared:
  """Returns how many values are shared for those that are kept."""
  privacy = config.privacy
  if not clients_add_noise(config):
    return AS_KEPT
  return Shared(
    more=1 if privacy.clip_quantile else 0,
    block=rotation.BLOCK if privacy.rotate else 1,
  )
