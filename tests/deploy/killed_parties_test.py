"""Parties as processes, which are killed and started again."""

import collections
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import pytest

pytest.importorskip('flwr', exc_type=ImportError)

from fps_jax.deploy.local import Deployment, started
from fps_jax.deploy.study import OUTCOME
from tests.helpers import small
from tests.helpers.deployments import rows_of, without_client, write_study

NUM_ROUNDS = 20
CLIENTS = [0, 1, 2, 3, 4, 5, 6], [7]
CHANGES = {
  'num_rounds': NUM_ROUNDS,
  'pruning__end_round': 10,
  'faults__on_failed_round': 'skip',
}
LEG_SECONDS = 60.0
PATIENCE_SECONDS = 1800.0


def _wait_for(deployment, workdir, number):
  """Waits until a round has ended."""
  deadline = time.monotonic() + PATIENCE_SECONDS
  outcome = deployment.folder / OUTCOME
  while len(rows_of(workdir)) < number:
    assert time.monotonic() < deadline
    assert not outcome.exists(), outcome.read_text()
    time.sleep(0.2)


def _kill_central_server(deployment):
  """Kills it with the SuperLink, which it would tell of its end otherwise."""
  started_by_link = _descendants(deployment.processes['link'].pid)
  deployment.stop('run', 'link', kill=True)
  for number in started_by_link:
    with contextlib.suppress(ProcessLookupError):
      os.kill(number, signal.SIGKILL)


def _descendants(number):
  """Returns the processes that a process has started, and theirs."""
  found = []
  for path in pathlib.Path(f'/proc/{number}/task').glob('*/children'):
    for child in map(int, _read(path).split()):
      found += [child, *_descendants(child)]
  return found


def _simulate(rows):
  """Returns the rows of a simulation in which the same clients report."""
  simulation = small.make(small.make_config(**CHANGES))
  losses, state = [], simulation.init_state()
  for number, row in enumerate(rows):
    plan = simulation.plan(number)
    if row['clients_reporting'] == 7:
      plan = without_client(plan, 7)
    elif not row['clients_reporting']:
      plan = simulation.plan_without_clients(number, 0)
    state, _, _ = small.step(simulation, state, plan)
    losses.append(
      float(jax.device_get(simulation.evaluation.test(state.params)).loss)
    )
  return losses


@pytest.mark.thorough
def test_run_goes_on_while_parties_are_killed_and_started_again(tmp_path):
  """A server for good, a client and the central server for a while.

  Its models are those of a simulation of who took part, whose test losses
  would tell any other apart; and no round was summed over two sets of clients.
  """
  file, workdir = tmp_path / 'study.py', tmp_path / 'work'
  write_study(file, CHANGES)
  command = [f'--config={file}', f'--workdir={workdir}']
  command += ['--deploy', '--seeded_draws']
  deployment = Deployment(tmp_path / 'parties', command)
  deployment.make_keys(5, CLIENTS)
  with started(deployment):
    deployment.run(LEG_SECONDS)
    _wait_for(deployment, workdir, 2)
    deployment.stop('server_2', kill=True)
    _wait_for(deployment, workdir, 4)
    deployment.stop('clients_1', kill=True)
    _wait_for(deployment, workdir, 6)
    deployment.start_node('clients_1')
    _wait_for(deployment, workdir, 7)
    _kill_central_server(deployment)
    deployment.start_link()
    deployment.run(LEG_SECONDS)
    _wait_for(deployment, workdir, NUM_ROUNDS)
    deployment.wait()
  rows = rows_of(workdir)
  assert (deployment.folder / OUTCOME).read_text() == ''
  assert [row['round'] for row in rows] == list(range(1, NUM_ROUNDS + 1))
  assert [row['test_loss'] for row in rows] == _simulate(rows)
  reporting = [row['clients_reporting'] for row in rows]
  assert set(reporting) <= {0, 7, 8}
  assert 7 in reporting
  assert 8 in reporting[8:]
  assert all(
    2 in row['missing_servers'] for row in rows[4:] if row['clients_reporting']
  )
  _check_ledgers(deployment.folder)
  _check_silence(deployment.folder)


def _check_ledgers(folder):
  """Checks that all servers have one set of clients for each round."""
  digests = collections.defaultdict(set)
  for path in folder.glob('server_*/ledger'):
    for line in path.read_text().splitlines():
      seed, number, digest, study = line.split(' ', 3)
      digests[seed, number, study].add(digest)
  assert digests
  assert {len(each) for each in digests.values()} == {1}


def _check_silence(folder):
  """Checks that logs have no key."""
  logs = ''.join(path.read_text() for path in folder.glob('*.log'))
  for path in folder.glob('*/keys.json'):
    for key in json.loads(path.read_text()):
      assert key not in logs


@pytest.mark.thorough
def test_demonstration_reports_and_stops_all_that_it_started(tmp_path):
  """As a user starts it, with a setting that has to be quoted."""
  workdir = tmp_path / 'work'
  done = subprocess.run(
    [
      sys.executable,
      'launch.py',
      '--config=experiments/mnist.py:tiny,methods=fedavg+fedpruneshare',
      '--config.model.args.mlp.widths=(30,)',
      '--config.pruning.sparsity=0.5',
      '--config.num_rounds=1',
      '--config.pruning.end_round=1',
      '--deploy',
      '--verbosity=0',
      f'--workdir={workdir}',
    ],
    capture_output=True,
    text=True,
    timeout=PATIENCE_SECONDS,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert 'fedavg is left out: sharing.scheme' in done.stdout
  assert (workdir / 'report.json').exists()
  (row,) = rows_of(workdir)
  assert row['clients_reporting'] == 8
  assert row['train_loss'] is None
  # What a process that was stopped has started sees that, and ends as well.
  deadline = time.monotonic() + LEG_SECONDS
  while _running(f'{workdir}.parties'):
    assert time.monotonic() < deadline
    time.sleep(0.2)


def _running(folder):
  """Returns the processes whose command lines have a folder."""
  commands = pathlib.Path('/proc').glob('[0-9]*/cmdline')
  return [path for path in commands if folder in _read(path)]


def _read(path):
  """Returns a process's command line; '' of one that has ended."""
  try:
    return path.read_text()
  except OSError:
    return ''
