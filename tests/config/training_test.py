"""Fields of training: what is refused, where, and what is said of it."""

import pytest

from fps_jax.config import defaults as configs
from fps_jax.config.validate import validate
from fps_jax.federated.augmentation import AUGMENTATIONS
from fps_jax.federated.optimizers import OPTIMIZERS
from fps_jax.jobs import notices
from tests.helpers import small
from tests.helpers.config_cases import problems

BAD = [
  ({'client.optimizer': 'adm'}, "client.optimizer='adm' is not one of"),
  (
    {'client.optimizer': 'adam', 'client.momentum': 0.9},
    "client.momentum=0.9 is of client.optimizer='sgd', not of 'adam'",
  ),
  (
    {'client.optimizer': 'lion', 'client.weight_decay': 0.1},
    'is in client.optimizer_args.lion',
  ),
  (
    {'client.optimizer_args.adam.b1': 1.0},
    'client.optimizer_args.adam.b1=1.0 must be in [0, 1)',
  ),
  ({'client.schedule': 'cosin'}, "client.schedule='cosin' is not one of"),
  (
    {'server.schedule_args.step.every': 0},
    'server.schedule_args.step.every=0 must be at least 1',
  ),
  ({'server.warmup_rounds': 3}, 'warmup_rounds=3 must be below num_rounds=3'),
  (
    {
      'client.schedule': 'exponential',
      'client.schedule_args.exponential.factor': 1e-30,
    },
    "client: schedule 'exponential' is 0.0 in round 3 of 3",
  ),
  ({'model.loss': 'nats'}, "model.loss='nats' is not one of"),
  (
    {'model.loss_args.label_smoothing.smoothing': 1.0},
    'smoothing=1.0 must be in (0, 1)',
  ),
  (
    {'model.loss_args.logit_adjustment.strength': 0.0},
    'strength=0.0 must be above 0',
  ),
  (
    {'model.loss': 'mean_squared_error', 'target_accuracy': 0.9},
    'target_accuracy=0.9 with model.loss=',
  ),
  ({'client.augmentation': 'crop'}, "client.augmentation='crop' is not one of"),
  (
    {
      'client.augmentation': 'crop_flip',
      'client.augmentation_args.crop_flip.padding': 0,
      'client.augmentation_args.crop_flip.flips': False,
    },
    'padding=0 with flips=False changes nothing',
  ),
]


@pytest.mark.parametrize(('fields', 'message'), BAD)
def test_what_does_not_fit_is_said_with_value_and_bound(fields, message):
  found = problems(small.make_config(**fields))
  assert len(found) == 1
  assert message in found[0]


def test_arguments_of_every_optimiser_are_fields_with_their_defaults():
  args = configs.default().client.optimizer_args
  assert args.adam.b1 == 0.9
  assert args.rmsprop.momentum is None
  assert args.nadam.nesterov is True
  for name in OPTIMIZERS:
    config = small.make_config(client__optimizer=name)
    validate(config)
    assert set(args.get(name, {})) == (
      set() if name == 'sgd' else set(OPTIMIZERS.arguments(name))
    )


def test_argument_of_gradient_descent_is_a_field_of_the_section():
  config = small.make_config()
  config.client.optimizer_args.sgd = {'momentum': 0.9}
  with pytest.raises(ValueError, match='is not an argument of'):
    validate(config)


def test_loss_that_does_not_fit_the_data_is_refused_before_a_run():
  config = small.make_config(model__loss='mean_squared_error')
  validate(config)
  with pytest.raises(ValueError, match=r"model.loss=.*'fake'.*int32.*float32"):
    small.make(config)


def test_augmentation_that_does_not_fit_the_data_is_refused_before_a_run(
  monkeypatch,
):
  monkeypatch.setitem(
    AUGMENTATIONS, 'turn', lambda: lambda key, image: image.swapaxes(0, 2)
  )
  config = small.make_config(client__augmentation='turn')
  validate(config)
  with pytest.raises(ValueError, match=r"client.augmentation='turn'.*'fake'"):
    small.make(config)


def test_learning_rates_that_change_are_shown():
  config = small.make_config(
    num_rounds=4,
    client__schedule='cosine',
    client__warmup_rounds=1,
    server__warmup_rounds=1,
  )
  lines = [
    line
    for line in notices.before_run(config, [small.make(config)])
    if 'learning_rate' in line
  ]
  assert lines == [
    "client.schedule='cosine' with warmup_rounds=1 makes client.learning_rate "
    '0.05 in round 1, 0.1 in round 2, 0.025 in round 4',
    "server.schedule='constant' with warmup_rounds=1 makes "
    'server.learning_rate 0.5 in round 1, 1 in round 2, 1 in round 4',
  ]
  plain = small.make_config()
  assert not [
    line
    for line in notices.before_run(plain, [small.make(plain)])
    if 'learning_rate' in line
  ]
