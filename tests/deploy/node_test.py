"""A node that is started again while Flower takes it to be there."""

import types
from unittest import mock

import pytest

pytest.importorskip('flwr', exc_type=ImportError)

import httpx
from flwr.supernode.fleet_http_client import FleetHttpClient

from fps_jax.deploy import node


class Clock:
  """Time that passes with every sleep."""

  def __init__(self):
    self.now = 0.0

  def monotonic(self):
    """Returns seconds."""
    return self.now

  def sleep(self, seconds):
    """Lets them pass."""
    self.now += seconds


def _refusal(status):
  response = types.SimpleNamespace(status_code=status)
  return httpx.HTTPStatusError('no', request=None, response=response)


@pytest.fixture
def activate(monkeypatch):
  """Activates a node; answers are those of a SuperLink, one after another."""
  clock = Clock()
  monkeypatch.setattr(node, 'time', clock)

  def run(answers):
    with mock.patch.object(
      FleetHttpClient, 'ActivateNode', side_effect=answers
    ):
      client = object.__new__(node.PatientClient)
      return client.ActivateNode('request'), clock.now

  return run


def test_node_that_was_killed_waits_until_flower_has_missed_it(activate):
  assert activate([_refusal(412), _refusal(412), 'here']) == ('here', 10)


@pytest.mark.parametrize(('status', 'number'), [(412, 100), (401, 1), (500, 1)])
def test_node_that_flower_does_not_know_ends(activate, status, number):
  refusals = [_refusal(status)] * number
  with pytest.raises(httpx.HTTPStatusError):
    activate([*refusals, 'here'])
