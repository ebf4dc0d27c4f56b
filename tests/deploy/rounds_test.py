"""Rounds between parties of one process, against those of a simulation."""

import collections
import dataclasses

import numpy as np
import pytest

from fps_jax.deploy import sealing
from fps_jax.deploy.client import Client, Memory, Trainer
from fps_jax.deploy.gathering import deployed
from fps_jax.deploy.messages import CLIENT, SERVER, Occasion, Party
from fps_jax.deploy.server import Ledger, Rules, Server
from fps_jax.sharing.audit import SharingError
from tests.helpers import small
from tests.helpers.cases import thorough
from tests.helpers.deployments import without_client

pytestmark = pytest.mark.slow

NUM_ROUNDS = 5
CASES = {
  '5,3,1': {},
  # With the rule that is the default, and a range that follows the schedule.
  '5,4,2': {
    'client__schedule': 'cosine',
    'pruning__scope': 'erk',
    'pruning__server': 'dense',
    'sharing__threshold': 4,
    'sharing__secrets_per_polynomial': 2,
    'sharing__prime': 2**19 - 1,
  },
  'in parts': {
    'pruning__scope': 'erk',
    'pruning__server': 'dense',
    'pruning__trained_fraction': 0.2,
  },
}
Case = collections.namedtuple('Case', 'config simulation trainer')


@pytest.fixture(
  scope='module',
  params=[name if name == '5,4,2' else thorough(name) for name in CASES],
)
def case(request) -> Case:
  """A study with 90 % sparsity; what is compiled for it is so once."""
  config = small.make_config(
    num_rounds=NUM_ROUNDS,
    pruning__sparsity=0.9,
    pruning__end_round=3,
    pruning__exempt=(),
    **CASES[request.param],
  )
  simulation = small.make(config)
  trainer = Trainer(simulation, simulation.put_data(), 'seed')
  return Case(config, simulation, trainer)


class Parties:
  """Clients and servers, reached without a network.

  Attributes:
    seen: all that the central server hands on, and is answered.
    lost: (leg, round, party) -> whether the party does not answer.
  """

  def __init__(self, case, folder, lost=lambda *_: False):
    shamir = case.simulation.protocol.shamir
    numbers = range(len(case.simulation.planner.partition))
    signing = [sealing.make_signing_key() for _ in numbers]
    opening = [
      sealing.make_opening_key(hybrid=server % 2 == 0)
      for server in shamir.server_points
    ]
    sealing_keys = [sealing.sealing_key(key) for key in opening]
    verifying = {n: sealing.verifying_key(signing[n]) for n in numbers}
    self.seen, self.lost = [], lost
    self.parties = {}
    for number in numbers:
      memory = Memory(folder / f'shared_{number}')
      self.parties[Party(CLIENT, number)] = Client(
        number, lambda *_: case.trainer, signing[number], sealing_keys, memory
      )
    for server, key in zip(shamir.server_points, opening, strict=True):
      ledger = Ledger(folder / f'ledger_{server}')
      rules = {'study': Rules(shamir, 2, (0,))}
      self.parties[Party(SERVER, server)] = Server(
        server, rules, key, verifying, ledger
      )

  def __call__(self, leg, requests):
    """Hands requests to parties that are not lost, as `Ask`."""
    replies = {
      party: self.parties[party].answer(leg, request)
      for party, request in requests.items()
      if not self.lost(leg, request['round'], party)
    }
    self.seen.append((leg, requests, replies))
    return replies


def begin():
  """Returns what the run is called."""
  return Occasion('study', 0, b'r' * 16)


def run(simulation, change=lambda _, plan: plan):
  """Returns the model after all rounds, and what each found."""
  state, found = simulation.init_state(), []
  for number in range(NUM_ROUNDS):
    plan = change(number, simulation.plan(number))
    state, _, findings = small.step(simulation, state, plan)
    found.append(findings)
  return np.asarray(state.params), found


def test_deployed_model_is_the_simulated_one_bit_for_bit(case, tmp_path):
  """And so are its metrics, but for what no client tells."""
  expected_D, rows = small.run_simulation(case.simulation, case.config)
  real = deployed(case.simulation, begin, Parties(case, tmp_path))
  found_D, found = small.run_simulation(real, case.config)
  np.testing.assert_array_equal(found_D, expected_D)
  untold = {'train_loss': None, 'clipped_fraction': None}
  assert found == [{**row, **untold} for row in rows]


LATE = Party(CLIENT, 3), Party(SERVER, 2)


def _is_lost(leg, number, party):
  """Server 2 from round 3 on, client 3 in rounds 2 and 3."""
  if party == LATE[0]:
    return number in (1, 2)
  return party == LATE[1] and (number > 2 or (number, leg) == (2, 'sum'))


def test_model_is_the_simulated_one_for_who_took_part(case, tmp_path):
  def without(number, plan):
    return without_client(plan, 3) if number in (1, 2) else plan

  parties = Parties(case, tmp_path, _is_lost)
  found_D, found = run(deployed(case.simulation, begin, parties))
  expected_D, _ = run(case.simulation, without)
  np.testing.assert_array_equal(found_D, expected_D)
  assert [each.silent_clients for each in found] == [(), (3,), (3,), (), ()]
  assert [each.silent_servers for each in found] == [(), (), (2,), (2,), (2,)]


def test_server_that_lies_is_named_and_left_out(case, tmp_path):
  """Of five with threshold 3; with 4 it is only noticed."""
  parties = Parties(case, tmp_path)
  liar = parties.parties[Party(SERVER, 4)]
  honest = liar._add
  liar._add = lambda *args: (
    (honest(*args) + 1) % case.trainer.scheme.field.modulus
  )
  real = deployed(case.simulation, begin, parties)
  if case.trainer.scheme.threshold == 4:
    with pytest.raises(SharingError, match='contradict each other'):
      run(real)
    return
  found_D, found = run(real)
  expected_D, _ = run(case.simulation)
  np.testing.assert_array_equal(found_D, expected_D)
  assert {each.wrong_servers for each in found} == {(4,)}


def test_too_few_servers_stop_the_round_by_number(case, tmp_path):
  parties = Parties(
    case, tmp_path, lambda _, __, party: party.role == SERVER and party[1] < 4
  )
  with pytest.raises(SharingError, match=r'servers \[4, 5\] answer, 2 where'):
    run(deployed(case.simulation, begin, parties))


def test_too_few_clients_stop_the_round_by_number(case, tmp_path):
  parties = Parties(
    case, tmp_path, lambda _, __, party: party.role == CLIENT and party[1] > 0
  )
  with pytest.raises(SharingError, match='1 of 8 clients shared, where 2'):
    run(deployed(case.simulation, begin, parties))


def test_run_goes_on_after_a_round_without_enough_servers(case, tmp_path):
  simulation = dataclasses.replace(
    case.simulation,
    completion=case.simulation.completion._replace(max_retries=0),
  )
  parties = Parties(
    case,
    tmp_path,
    lambda _, number, party: number == 1 and party.role == SERVER,
  )
  _, rows = small.run_simulation(
    deployed(simulation, begin, parties), case.config
  )
  assert [row['clients_reporting'] for row in rows] == [8, 0, 8, 8, 8]


def test_client_shares_once_on_an_occasion_and_on_none_before(case, tmp_path):
  parties = Parties(case, tmp_path)
  run(deployed(case.simulation, begin, parties))
  started_again = Parties(case, tmp_path)
  for leg, requests, _ in parties.seen:
    if leg == 'train':
      for party, request in requests.items():
        for each in (parties, started_again):
          reply = each.parties[party].answer(leg, request)
          assert 'an occasion comes once' in reply['refusal']


def test_damaged_memory_of_a_client_is_refused(tmp_path):
  path = tmp_path / 'shared'
  for text in ('72 0 1\n', '72 0 one 0\n'):
    path.write_text(text)
    with pytest.raises(
      ValueError, match=r'is damaged at .*remove it, and begin'
    ):
      Memory(path)


def test_line_of_a_memory_that_was_cut_off_is_of_no_share(tmp_path):
  path, occasion = tmp_path / 'shared', begin()
  Memory(path).add(occasion)
  with path.open('a') as file:
    file.write('72 0 1')
  memory = Memory(path)
  with pytest.raises(ValueError, match='an occasion comes once'):
    memory.check(occasion)
  memory.check(dataclasses.replace(occasion, attempt=1))


def test_client_refuses_what_is_not_of_its_configuration(case, tmp_path):
  parties = Parties(case, tmp_path)
  with pytest.raises(SharingError):
    run(deployed(case.simulation, begin, _Stop(parties)))
  ((client, request),) = [
    item for item in parties.seen[0][1].items() if item[0].number == 0
  ]
  answer = parties.parties[client].answer
  for change, reason in {
    'round': (NUM_ROUNDS, 'beyond num_rounds'),
    'attempt': (1, 'attempt=0, expected 1'),
    'cohort': ([0], 'smaller than sharing.min_contributors'),
    'model': (request['model'][:-1], 'cut off'),
    'start': ('no number', 'start is str'),
  }.items():
    value, text = reason
    later = {**request, 'start': 9, change: value}
    assert text in answer('train', later)['refusal']
  others = {**request, 'start': 9, 'cohort': [1, 2, 3]}
  assert 'is not of the cohort' in answer('train', others)['refusal']
  assert 'none of a client' in answer('sum', request)['refusal']
  assert 'sealed' in answer('train', {**request, 'start': 9})


class _Stop:
  """Parties of which no server answers."""

  def __init__(self, parties):
    self.parties = parties

  def __call__(self, leg, requests):
    return self.parties(leg, requests) if leg == 'train' else {}


def test_keys_and_roundings_of_the_operating_system_are_fresh(case, tmp_path):
  """Two runs differ by roundings alone, and no message of theirs is alike."""
  trainer = Trainer(case.simulation, case.simulation.put_data(), 'os')
  parties = Parties(case._replace(trainer=trainer), tmp_path)
  with pytest.raises(SharingError):
    run(deployed(case.simulation, begin, _Stop(parties)))
  _, requests, _ = parties.seen[0]
  client = parties.parties[Party(CLIENT, 0)]
  occasion = begin()
  model = requests[Party(CLIENT, 0)]['model']
  first, second = (trainer.share(0, occasion, model)[0] for _ in range(2))
  seeded, _ = case.trainer.share(0, occasion, model)
  assert client.number == 0
  for messages in zip(first, second, seeded, strict=True):
    assert len(set(messages)) == 3
    assert len({len(message) for message in messages}) == 1
