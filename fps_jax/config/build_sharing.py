"""The parts of a run that sharing is made of, from a config."""

import numpy as np
from ml_collections import ConfigDict

from fps_jax.core.devices import gather
from fps_jax.runs.faults import ServerFaults
from fps_jax.sharing import randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.protocol import Faults, SumProtocol
from fps_jax.sharing.schemes import SCHEMES
from fps_jax.sharing.schemes.scheme import Scheme, Setup
from fps_jax.sharing.shamir import Shamir


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
  return config.sharing.min_contributors if is_shared(config) else 1


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


def make_protocol(
  config: ConfigDict, setup: Setup, max_count: int
) -> SumProtocol:
  """Returns how a config's sums are formed.

  Args:
    config: the config of one variant.
    setup: of `make_setup`.
    max_count: largest sample count of a client.

  Raises:
    ValueError: if a sum could wrap.
  """
  return scheme_of(config).make_sum(
    lambda: make_codec(config, max_count), setup
  )


def make_server_faults(
  config: ConfigDict, shamir: Shamir, seed: int
) -> ServerFaults | None:
  """Returns which servers fail when; None where no server holds shares."""
  if not scheme_of(config).has_servers:
    return None
  return ServerFaults(
    shamir,
    seed,
    tuple(config.faults.missing_servers),
    tuple(config.faults.lying_servers),
    config.faults.server_dropout_probability,
    config.faults.server_corruption_probability,
  )
