"""A sharing scheme is its own file, and a line of the registry."""

import numpy as np
import pytest

from fps_jax.config.validate import validate
from fps_jax.sharing import schemes
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.schemes.channels import Channel, ClearChannel
from fps_jax.sharing.schemes.scheme import MakeCodec, Scheme, Setup
from tests.helpers import small


class Unused(Scheme):
  """Clients send a byte a value, whatever the config says."""

  is_clear = True

  def make_sum(self, make_codec: MakeCodec, setup: Setup) -> SumProtocol:
    """Returns the sum of words."""
    return SumProtocol(make_codec())

  def make_channel(self, setup: Setup) -> Channel:
    """Returns that of bytes."""
    return ClearChannel(8)


@pytest.mark.slow
def test_scheme_that_is_only_registered_runs(monkeypatch):
  monkeypatch.setitem(schemes.SCHEMES, 'unused', Unused())
  runs = []
  for name in ('quantised', 'unused'):
    config = small.make_config()
    config.sharing.scheme = name
    config.sharing.value_bits = 8
    validate(config)
    runs.append(small.run_simulation(small.make(config), config))
  (expected, _), (params, rows) = runs
  np.testing.assert_array_equal(params, expected)
  kept = rows[0]['kept_parameters']
  assert rows[0]['uplink_bytes_per_client'] == 32 + 1 + kept + 4


@pytest.mark.parametrize('name', schemes.SCHEMES)
def test_schemes_say_what_follows_from_each_other(name):
  scheme = schemes.SCHEMES[name]
  assert scheme.sees_updates('updates')
  assert scheme.sees_updates('sum') == scheme.is_clear
  if scheme.has_servers:
    assert scheme.has_codec
    assert not scheme.is_clear
