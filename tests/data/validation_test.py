"""The part of the training set that is held out: nobody trains on it."""

import dataclasses

import numpy as np
import pytest

from fps_jax import data
from fps_jax.config.sections.data import make_partition, split
from fps_jax.jobs import notices
from tests.helpers import small


def test_without_a_fraction_everything_is_dealt():
  training, validation = split(small.make_config(), 0, 7)
  np.testing.assert_array_equal(training, np.arange(7))
  assert training.dtype == np.int32
  assert len(validation) == 0


def test_parts_cover_the_training_set_and_have_nothing_in_common():
  config = small.make_config(data__validation_fraction=0.25)
  training, validation = split(config, 3, 101)
  assert len(validation) == 25
  together = np.sort(np.concatenate([training, validation]))
  np.testing.assert_array_equal(together, np.arange(101))
  for part in (training, validation):
    assert np.all(np.diff(part) > 0) and part.dtype == np.int32


def test_another_seed_holds_out_others_and_the_same_seed_the_same():
  config = small.make_config(data__validation_fraction=0.5)
  first, again, other = (split(config, s, 50).validation for s in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert np.any(first != other)


@pytest.mark.parametrize(
  'partition', ['iid', 'dirichlet', 'shards', 'quantity_skew']
)
def test_no_client_is_dealt_what_is_held_out(partition):
  config = small.make_config(
    data__validation_fraction=0.2, data__partition=partition
  )
  dataset = data.load('fake')
  parts = make_partition(config, 0, dataset)
  training, _ = split(config, 0, len(dataset.train_targets))
  np.testing.assert_array_equal(np.sort(np.concatenate(parts)), training)


@pytest.mark.parametrize('fraction', [0.001, 0.999])
def test_fraction_of_no_example_is_refused(fraction):
  config = small.make_config(data__validation_fraction=fraction)
  with pytest.raises(
    ValueError, match=r'fraction=0.\d+ of 9 .* are [09]: must'
  ):
    split(config, 0, 9)


def test_examples_of_the_central_server_are_not_held_out():
  """All but the validation part are asked for, and one more is too many."""
  config = small.make_config(
    data__validation_fraction=0.5,
    data__num_clients=8,
    defence__name='fltrust',
    sharing__scheme='ideal',
  )
  half = len(data.load('fake').train_targets) // 2
  config.defence.root_examples = half + 1
  with pytest.raises(ValueError, match=rf'must be at most {half}, the number'):
    small.make(config)


@pytest.mark.slow
def test_validation_measures_the_model_on_the_examples_held_out():
  config = small.make_config(data__validation_fraction=0.25, num_rounds=1)
  simulation = small.make(config)
  state = simulation.init_state()
  dataset = data.load('fake')
  rows = split(config, 0, len(dataset.train_targets)).validation
  found = simulation.evaluation.validation(state.params).num_right
  model = simulation.accounts.model.unravel(state.params)
  x = dataset.train_inputs[rows].reshape(len(rows), -1) / 255
  hidden = np.maximum(
    x @ model['hidden_0']['kernel'] + model['hidden_0']['bias'], 0
  )
  logits = hidden @ model['output']['kernel'] + model['output']['bias']
  expected = np.sum(np.argmax(logits, 1) == dataset.train_targets[rows])
  assert abs(int(found) - expected) <= 1  # A tie may be rounded either way.
  assert simulation.evaluation.num_validation == len(rows)


@pytest.mark.slow
def test_rows_have_validation_where_there_is_a_part_and_none_without():
  config = small.make_config(num_rounds=2, eval__every_rounds=2)
  _, rows = small.run(config)
  assert [row['validation_accuracy'] for row in rows] == [None, None]
  config.data.validation_fraction = 0.25
  _, rows = small.run(config)
  assert rows[0]['validation_accuracy'] is None
  assert 0 <= rows[1]['validation_accuracy'] <= 1
  assert rows[1]['validation_loss'] > 0


def test_stopping_by_test_data_is_warned_of_and_by_validation_is_not():
  config = small.make_config(eval__stop_at_accuracy=0.5)
  (line,) = notices._stop(config)
  assert line.startswith('eval.stop_at_accuracy=0.5 is measured on the test')
  config.data.validation_fraction = 0.1
  assert not list(notices._stop(config))


def _with_clients(clients):
  dataset = data.load('fake', num_train=len(clients))
  return dataclasses.replace(dataset, train_clients=np.array(clients))


def test_clients_of_the_data_keep_what_is_not_held_out():
  dataset = _with_clients([7, 3] * 40)
  config = small.make_config(
    data__validation_fraction=0.25,
    data__partition='natural',
    data__num_clients=2,
    cohort__size=2,
  )
  training, _ = split(config, 0, 80)
  parts = make_partition(config, 0, dataset)
  np.testing.assert_array_equal(np.sort(np.concatenate(parts)), training)
  for part, client in zip(parts, (3, 7), strict=True):
    assert np.all(dataset.train_clients[part] == client)


def test_client_of_the_data_of_whom_all_is_held_out_is_named():
  config = small.make_config(
    data__validation_fraction=0.5, data__partition='natural'
  )
  lost = int(split(config, 0, 30).validation[0])
  clients = [0] * 30
  clients[lost] = 5
  with pytest.raises(ValueError, match=r'all examples of 1 .* as client 5: l'):
    make_partition(config, 0, _with_clients(clients))
