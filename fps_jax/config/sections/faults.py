"""The section `faults`: who fails; who is too slow is a matter of profiles."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from fps_jax.config.checks import choice, each, whole, within
from fps_jax.config.section import Field, Section, collect
from fps_jax.config.sections.sharing import (
  MAX_SERVERS,
  make_shamir,
  scheme_of,
)
from fps_jax.runs.faults import ON_FAILED_ROUND, ServerFaults

_PROBABILITY = within(0, 1, '[)')
_SERVER_NUMBERS = each(whole(1, MAX_SERVERS))


def _servers(config: ConfigDict) -> Iterator[str]:
  faults = config.faults
  try:
    scheme = make_shamir(config.sharing)
  except ValueError:
    return  # Which `_scheme` says.
  yield from collect(
    'faults', lambda: scheme.present_without(faults.missing_servers)
  )
  lying = faults.lying_servers
  if len(set(lying)) < len(lying) or set(lying) - set(scheme.server_points):
    yield (
      f'faults.lying_servers={lying} must be distinct numbers from 1 to '
      f'num_servers={scheme.num_servers}'
    )


def _corruption(config: ConfigDict) -> Iterator[str]:
  probability = config.faults.server_corruption_probability
  if config.sharing.reveal == 'updates' and probability:
    yield (
      f'faults.server_corruption_probability={probability} with '
      "sharing.reveal='updates', which has no sums to lie about: use "
      "sharing.reveal='sum'"
    )


def _dealers(config: ConfigDict) -> Iterator[str]:
  inconsistent, num_clients = (
    config.faults.inconsistent_clients,
    config.data.num_clients,
  )
  if not all(client < num_clients for client in inconsistent):
    yield (
      f'faults.inconsistent_clients={inconsistent} must be in [0, '
      f'{num_clients}), the numbers of clients'
    )


SECTION = Section(
  'faults',
  {
    'client_dropout_probability': Field(
      0.0,
      _PROBABILITY,
      'that a client never reports; drawn anew for every round',
    ),
    'server_dropout_probability': Field(
      0.0,
      _PROBABILITY,
      'that a server does not answer; drawn anew for every round',
    ),
    'server_corruption_probability': Field(
      0.0,
      _PROBABILITY,
      'that a server adds random words to its sum; drawn anew for every round',
    ),
    'missing_servers': Field(
      (), _SERVER_NUMBERS, 'numbers in 1 .. N that never answer'
    ),
    'lying_servers': Field(
      (), _SERVER_NUMBERS, 'always add random words to their sums'
    ),
    'inconsistent_clients': Field(
      (), each(whole(0)), 'deal server N a wrong share'
    ),
    'on_failed_round': Field(
      'stop',
      choice(ON_FAILED_ROUND),
      'too few servers answer, or too many lie, to open the sum: stop, skip '
      '(the model stays, but for pruning), retry (other clients and keys, '
      'then skip); only retry minds that fewer than sharing.min_contributors '
      'clients report',
    ),
    'max_retries': Field(3, whole(1, 100)),
  },
  (_servers, _corruption, _dealers),
)


def max_retries(config: ConfigDict) -> int | None:
  """Returns how often a failed round is tried again; None stops the run."""
  retries = {'stop': None, 'skip': 0, 'retry': config.faults.max_retries}
  return retries[config.faults.on_failed_round]


def make_server_faults(config: ConfigDict, seed: int) -> ServerFaults | None:
  """Returns which servers fail when; None where no server holds shares."""
  if not scheme_of(config).has_servers:
    return None
  return ServerFaults(
    make_shamir(config.sharing),
    seed,
    tuple(config.faults.missing_servers),
    tuple(config.faults.lying_servers),
    config.faults.server_dropout_probability,
    config.faults.server_corruption_probability,
  )
