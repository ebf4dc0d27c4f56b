"""The section `model`: the network, and its parameters as one vector."""

import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.flatten_util import ravel_pytree
from ml_collections import ConfigDict

from fps_jax import models
from fps_jax.config.checks import above_zero, choice, each, text, whole, within
from fps_jax.config.section import Field, Section, collect
from fps_jax.core import arrays, files
from fps_jax.core.rng import Stream, device_key
from fps_jax.core.types import Array, Examples, Key, Params
from fps_jax.data.dataset import Signature
from fps_jax.federated.client import Apply, scale_pixels
from fps_jax.federated.losses import LOSSES, Loss, are_classes
from fps_jax.models import MODELS
from fps_jax.runs import initial
from fps_jax.runs.initial import INITIAL_MODELS

MAX_UNITS = 2**16
MAX_LAYERS = 64


def _arguments(config: ConfigDict) -> Iterator[str]:
  yield from collect('model', lambda: make_model(config, num_classes=2))


def _loss(config: ConfigDict) -> Iterator[str]:
  yield from collect('model', lambda: make_loss(config))
  if config.target_accuracy and make_loss(config).is_right is None:
    yield (
      f'target_accuracy={config.target_accuracy} with model.loss='
      f'{config.model.loss!r}, under which no prediction is right or wrong: '
      'set it to 0'
    )


def _begins(config: ConfigDict) -> Iterator[str]:
  if config.model.init_model != 'last' and not config.model.init_from:
    yield (
      f'model.init_model={config.model.init_model!r} is of model.init_from, '
      "which is '': set it, too"
    )


SECTION = Section(
  'model',
  {
    'name': Field('mlp', choice(MODELS)),
    'init_from': Field(
      '',
      text,
      'folder of a run, WORKDIR/VARIANT/seed_N, with whose model this one '
      'begins; {seed} stands for the seed; empty: with a random one',
    ),
    'init_model': Field(
      'last',
      choice(INITIAL_MODELS),
      "the run's, of its last checkpoint or, best, the best in validation",
    ),
    'args.mlp.widths': Field((200, 200), each(whole(1, MAX_UNITS))),
    'args.cifar_cnn.channels': Field((32, 64, 64), each(whole(1, MAX_UNITS))),
    'args.cifar_cnn.hidden': Field(0, whole(0, MAX_UNITS)),
    'args.char_lstm.embedding': Field(8, whole(1, MAX_UNITS)),
    'args.char_lstm.width': Field(64, whole(1, MAX_UNITS)),
    'args.char_lstm.layers': Field(1, whole(1, MAX_LAYERS)),
    'args.resnet8.width': Field(16, whole(1, MAX_UNITS)),
    'args.resnet18.width': Field(64, whole(1, MAX_UNITS)),
    'args.resnet20.width': Field(16, whole(1, MAX_UNITS)),
    'loss': Field(
      'cross_entropy',
      choice(LOSSES),
      'what clients minimise, and evaluation reports; label_smoothing and '
      'logit_adjustment are reported as the plain cross-entropy',
    ),
    'loss_args.label_smoothing.smoothing': Field(0.1, within(0, 1, '()')),
    'loss_args.logit_adjustment.strength': Field(1.0, above_zero),
  },
  (_arguments, _loss, _begins),
  {'args': (MODELS,), 'loss_args': (LOSSES,)},
)


class Network(NamedTuple):
  """A model on a data set.

  Attributes:
    init: key -> pytree of parameters.
    apply: (parameters, inputs as the data has them) -> logits.
    template: pytree of the parameters' shapes and types.
    unravel: [D] -> pytree of parameters, of the vector's type.
    num_params: D.
  """

  init: Callable[[Key], Params]
  apply: Apply
  template: Params
  unravel: Callable[[Array], Params]
  num_params: int


def make_model(config: ConfigDict, num_classes: int) -> nn.Module:
  """Returns a config's model for some classes.

  Raises:
    ValueError: if an argument does not fit.
  """
  name = config.model.name
  return models.make(name, num_classes, **config.model.args.get(name, {}))


def make_loss(config: ConfigDict) -> Loss:
  """Returns what clients minimise.

  Raises:
    ValueError: if an argument does not fit.
  """
  name = config.model.loss
  return LOSSES.make(name, config.model.loss_args.get(name, {}))


def make_loss_on(
  config: ConfigDict, network: Network, examples: Examples
) -> Loss:
  """Returns what clients minimise on examples such as these.

  Raises:
    ValueError: if the loss does not take the model's outputs or the targets.
  """
  loss = make_loss(config)
  batch = shapes_of_batch(examples)
  outputs = jax.eval_shape(network.apply, network.template, batch.inputs)
  targets = batch.targets
  expected = targets.shape if are_classes(targets) else targets.shape[:1]

  def knowing(outputs: Array, targets: Array) -> Array:
    if loss.train_knowing is None:
      return loss.train(outputs, targets)
    owned = targets.reshape(-1)
    return loss.train_knowing(owned, outputs.shape[-1])(outputs, targets)

  for compare in filter(None, (loss.train, knowing, loss.test, loss.is_right)):
    try:
      arrays.check(
        'the loss',
        returned := jax.eval_shape(compare, outputs, targets),
        returned.dtype,
        expected,
      )
    except ValueError as error:
      raise ValueError(
        f'model.loss={config.model.loss!r} does not fit data.source='
        f'{config.data.source!r} and model.name={config.model.name!r}: {error}'
      ) from error
  return loss


def shapes_of_batch(examples: Examples) -> Examples:
  """Returns type and shape of a batch of two."""
  return Examples(
    *(jax.ShapeDtypeStruct((2, *a.shape[1:]), a.dtype) for a in examples)
  )


def make_network(config: ConfigDict, examples: Signature) -> Network:
  """Returns a config's model for such inputs and targets.

  Raises:
    ValueError: if it does not take such inputs, or pixels are to be scaled
      where there are none.
  """
  settings = config.data
  model = make_model(config, examples.num_classes)
  scales = examples.are_images
  scaling = (settings.pixel_mean, settings.pixel_std)
  if not scales and scaling != ((0.0,), (1.0,)):
    raise ValueError(
      f'data.pixel_mean={settings.pixel_mean} and data.pixel_std='
      f'{settings.pixel_std} scale uint8 images, and {settings.source!r} has '
      f'{examples.input_dtype} inputs, which models are given as they '
      'are: leave them at (0.0,) and (1.0,)'
    )
  if scales:
    _check_channels(config, examples.input_shape[-1])

  def init(key: Key) -> Params:
    dtype = jnp.float32 if scales else jnp.dtype(examples.input_dtype)
    example = jnp.zeros((1, *examples.input_shape), dtype)
    return model.init(device_key(key, Stream.MODEL), example)['params']

  def apply(params, inputs):
    if scales:
      inputs = scale_pixels(inputs, *scaling)
    return model.apply({'params': params}, inputs)

  shapes = _check_inputs(config.model.name, init, apply, examples)
  unravel, num_params = _unraveller(shapes)
  return Network(init, apply, shapes, unravel, num_params)


def _check_channels(config: ConfigDict, num_channels: int) -> None:
  """Raises ValueError where pixels are scaled by other channels' numbers."""
  for name in ('pixel_mean', 'pixel_std'):
    values = config.data[name]
    if len(values) not in (1, num_channels):
      raise ValueError(
        f'data.{name}={values} has {len(values)} entries, and images of '
        f'{config.data.source!r} have {num_channels} channels: give one '
        'number, or one for each channel'
      )


def _unraveller(shapes: Params) -> tuple[Callable[[Array], Params], int]:
  """Returns what makes parameters of a vector, and the vector's length."""
  unravellers = []

  def ravel(params: Params) -> Array:
    flat_D, unravel = ravel_pytree(params)
    unravellers.append(unravel)
    return flat_D

  # Nothing is computed, nor compiled: shapes are all that it takes.
  flat_D = jax.eval_shape(ravel, shapes)
  return unravellers[0], flat_D.shape[0]


def _check_inputs(
  name: str, init: Callable[[Key], Params], apply: Apply, examples: Signature
) -> Params:
  """Returns the shapes of a model's parameters, if it takes the inputs.

  Raises:
    ValueError: if it does not.
  """
  shape, dtype = examples.input_shape, examples.input_dtype
  batch = jax.ShapeDtypeStruct((1, *shape), jnp.dtype(dtype))
  try:
    shapes = jax.eval_shape(init, jax.eval_shape(lambda: jax.random.key(0)))
    jax.eval_shape(apply, shapes, batch)
  # What a model raises of inputs that it does not take is not one kind.
  except Exception as error:
    reason = ' '.join(str(error).split())
    raise ValueError(
      f'model.name={name!r} does not take the inputs of {examples.name!r}, '
      f'{dtype} of shape {shape}: choose another model '
      f'({type(error).__name__}: {reason})'
    ) from error
  return shapes


def initial_model(config: ConfigDict, seed: int) -> np.ndarray | None:
  """Returns the model that a run begins with; None for a random one.

  Returns:
    float32 [D].

  Raises:
    ValueError: if it cannot be read.
  """
  settings = config.model
  if not settings.init_from:
    return None
  return initial.load(initial_folder(config, seed), settings.init_model)


def initial_folder(config: ConfigDict, seed: int) -> pathlib.Path:
  """Returns the folder of the run whose model another begins with."""
  path = config.model.init_from.replace('{seed}', str(seed))
  return files.local(path, 'model.init_from')
