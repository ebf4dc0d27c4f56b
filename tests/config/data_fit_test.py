"""What does not fit the data is said before a run, with the cure."""

import re

import numpy as np
import pytest

from fps_jax import data
from fps_jax.federated import losses
from fps_jax.jobs.inversion import job as inversion
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError
from tests.helpers import small


def features() -> data.Dataset:
  """Returns 60 examples of 5 numbers, of 2 classes and 4 clients."""
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(60, 5)).astype(np.float32)
  targets = (inputs[:, 0] > 0).astype(np.int32)
  clients = np.arange(60) % 4
  return data.Dataset(
    'features', inputs, targets, inputs, targets, 2, clients, clients
  )


def sequences() -> data.Dataset:
  """Returns 60 examples of 5 numbers with a sequence of 5 classes each."""
  inputs = features().train_inputs
  targets = (inputs > 0).astype(np.int32)
  return data.Dataset('sequences', inputs, targets, inputs, targets, 2)


@pytest.fixture(autouse=True)
def sources(monkeypatch):
  monkeypatch.setitem(data.SOURCES, 'features', features)
  monkeypatch.setitem(data.SOURCES, 'sequences', sequences)


def make_config(**overrides):
  config = small.make_config(data__source='features', data__num_clients=4)
  config.cohort.size = 4
  config.pruning.sparsity = 0.5
  return small.change(config, **overrides)


def test_loss_that_knows_its_classes_is_checked_with_the_data(monkeypatch):
  wrong = losses.cross_entropy()._replace(
    train_knowing=lambda owned, num_classes: lambda logits, classes: logits
  )
  monkeypatch.setitem(losses.LOSSES, 'wrong', lambda: wrong)
  with pytest.raises(ValueError, match=r"model\.loss='wrong' does not"):
    small.make(make_config(model__loss='wrong'))


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    (
      {'model__name': 'mcmahan_cnn'},
      "model.name='mcmahan_cnn' does not take the inputs of 'features', "
      'float32 of shape (5,): choose another',
    ),
    (
      {'data__source': 'sequences', 'data__partition': 'iid'},
      "model.loss='cross_entropy' does not fit data.source='sequences' and "
      "model.name='mlp': logits is float32 [2, 2], must be float32 [2, 5, ",
    ),
    (
      {'data__pixel_mean': (0.5,)},
      'data.pixel_mean=(0.5,) and data.pixel_std=(1.0,) scale uint8 images',
    ),
    (
      {'data__source': 'fake', 'data__pixel_std': (0.5, 0.2)},
      "data.pixel_std=(0.5, 0.2) has 2 entries, and images of 'fake' have 1 "
      'channels: give one number, or one for each',
    ),
    (
      {
        'attack__data': 'backdoor',
        'attack__malicious': 0.25,
        'model__name': 'mlp',
      },
      "attack.data='backdoor' does not take the examples of data.source="
      "'features': images is float32 [10, 5]",
    ),
    (
      {'data__source': 'sequences'},
      "data.partition='dirichlet' of data.source='sequences': labels are",
    ),
    (
      {'data__source': 'sequences', 'data__partition': 'natural'},
      "partition 'natural' needs to know whose each example is",
    ),
    (
      {'data__partition': 'natural', 'data__num_clients': 5},
      'num_clients=5 is not the 4 clients of the data',
    ),
  ],
)
def test_what_does_not_fit_the_data_is_refused(overrides, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    small.make(make_config(**overrides))


def test_inversion_of_inputs_that_are_no_images_is_refused(tmp_path):
  config = inversion.default()
  config.data.source = 'features'
  with pytest.raises(StudyError, match=r'features has float32 .*no images'):
    inversion.run(config, tmp_path / 'inversion', [], Options())


@pytest.mark.slow
def test_clients_of_the_data_train_on_what_is_theirs():
  config = make_config(data__partition='natural', num_rounds=2)
  simulation = small.make(config)
  owned = [set(rows.tolist()) for rows in simulation.planner.partition]
  assert owned == [set(range(client, 60, 4)) for client in range(4)]
  _, rows = small.run_simulation(simulation, config)
  assert rows[-1]['test_accuracy'] is not None
