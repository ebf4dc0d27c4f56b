"""The parts of a run that sharing is made of, from a config."""

import numpy as np
from ml_collections import ConfigDict

from fps_jax.core.devices import gather
from fps_jax.runs.faults import ServerFaults
from fps_jax.sharing import protocol, randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir


def make_scheme(sharing: ConfigDict) -> Shamir:
  """Returns the sharing scheme of a config's section `sharing`.

  Raises:
    ValueError: if its numbers do not fit.
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


def make_auditor(config: ConfigDict, scheme: Shamir) -> Auditor | None:
  """Returns what looks for wrong sums and shares, or None for nothing."""
  sharing = config.sharing
  if sharing.audit == 'none' or sharing.reveal == 'updates':
    return None
  present = scheme.present_without(config.faults.missing_servers)
  if len(present) == scheme.threshold:
    # Any k shares are those of some polynomial: there is nothing to notice.
    return None
  checks_clients = sharing.audit == 'clients'
  return Auditor(scheme, present, checks_clients)


def min_contributors(config: ConfigDict) -> int:
  """Returns how many clients a sum must be of; in the clear, one is enough."""
  is_clear = config.sharing.scheme in protocol.CLEAR_SCHEMES
  return 1 if is_clear else config.sharing.min_contributors


def min_answers(config: ConfigDict) -> int:
  """Returns how many servers must answer for a sum to be opened."""
  return config.sharing.min_answers or config.sharing.threshold


def make_protocol(
  config: ConfigDict, scheme: Shamir | None, max_count: int, seed: int
) -> protocol.SumProtocol:
  """Returns how a config's sums are formed.

  Args:
    config: the config of one variant.
    scheme: of `make_scheme`; None in the clear.
    max_count: largest sample count of a client.
    seed: the run's seed.

  Raises:
    ValueError: if a sum could wrap.
  """
  sharing = config.sharing
  if sharing.scheme == 'none':
    return protocol.plain_sum()
  codec = Codec(
    field=PrimeField(sharing.prime),
    clip=sharing.clip,
    value_bits=sharing.value_bits,
    max_clients=config.cohort.size,
    max_count=max_count,
  )
  if scheme is None or sharing.scheme == 'ideal':
    alignment = scheme.secrets_per_polynomial if scheme else 1
    return protocol.ideal_sum(codec, alignment)
  settings = config.faults
  faults = protocol.Faults(
    bool(settings.lying_servers or settings.server_corruption_probability),
    tuple(settings.inconsistent_clients),
    seed,
  )
  return protocol.shamir_sum(
    codec,
    scheme,
    scheme.present_without(config.faults.missing_servers),
    sharing.reveal,
    make_auditor(config, scheme),
    faults,
  )


def make_server_faults(
  config: ConfigDict, scheme: Shamir | None, seed: int
) -> ServerFaults | None:
  """Returns which servers fail when; None where no server holds shares."""
  if scheme is None or config.sharing.scheme != 'shamir':
    return None
  return ServerFaults(
    scheme,
    seed,
    tuple(config.faults.missing_servers),
    tuple(config.faults.lying_servers),
    config.faults.server_dropout_probability,
    config.faults.server_corruption_probability,
  )
