"""Clients as processes, each with a file of its own data."""

import dataclasses

import pytest

pytest.importorskip('flwr', exc_type=ImportError)

from fps_jax import data
from fps_jax.deploy.local import Deployment, started
from fps_jax.deploy.study import OUTCOME
from tests.helpers import small
from tests.helpers.deployments import rows_of, write_study

CHANGES = {
  'num_rounds': 2,
  'pruning__end_round': 1,
  'data__num_clients': 2,
  'data__partition': 'iid',
  'cohort__size': 2,
  'cohort__weighting': 'clients',
}


@pytest.mark.thorough
def test_model_of_data_of_their_own_is_that_of_a_simulation_that_deals_it(
  tmp_path,
):
  """As the test losses show; clients have what the config deals the other."""
  config = small.make_config(**CHANGES)
  dealt = small.make(config)
  planner = dataclasses.replace(
    dealt.planner, partition=dealt.planner.partition[::-1]
  )
  simulation = dataclasses.replace(dealt, planner=planner)
  workdir, file = tmp_path / 'work', tmp_path / 'study.py'
  write_study(file, CHANGES)
  study = [f'--config={file}', f'--workdir={workdir}', '--deploy']
  study += ['--seeded_draws']
  deployment = Deployment(tmp_path / 'parties', study)
  deployment.make_keys(5, [[0], [1]])
  for client, rows in enumerate(simulation.planner.partition):
    _write_part(tmp_path / f'{client}.npz', rows)
  with started(deployment):
    for client in range(2):
      deployment.stop(f'clients_{client}')
      deployment.start_node(
        f'clients_{client}', data=str(tmp_path / f'{client}.npz')
      )
    deployment.run()
    deployment.wait()
  assert (deployment.folder / OUTCOME).read_text() == ''
  rows = rows_of(workdir)
  assert [row['clients_reporting'] for row in rows] == [2, 2]
  assert _losses(rows) == _losses(small.run_simulation(simulation, config)[1])
  assert _losses(rows) != _losses(small.run_simulation(dealt, config)[1])


def _losses(rows):
  return [row['test_loss'] for row in rows]


def _write_part(path, rows):
  """Writes the data set that has these train examples, and no other."""
  whole = data.load('fake')
  part = dataclasses.replace(
    whole,
    train_inputs=whole.train_inputs[rows],
    train_targets=whole.train_targets[rows],
  )
  data.write_npz(path, part)
