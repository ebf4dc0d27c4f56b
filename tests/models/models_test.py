"""Tests of every model of `fps_jax.models.MODELS`: the contract they share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax import models

NAMES = sorted(models.MODELS)
NUM_CLASSES = 10
CLIENTS = 2

# Those of tokens; the others are of images.
OF_TOKENS = {'char_lstm'}

# name -> (input shape, parameters)
SIZES = {
  'char_lstm': ((40,), 19_418),
  'cifar_cnn': ((32, 32, 3), 66_730),
  'mcmahan_cnn': ((28, 28, 1), 1_663_370),
  'mlp': ((28, 28, 1), 199_210),
  'resnet18': ((32, 32, 3), 11_172_170),
  'resnet20': ((32, 32, 3), 272_282),
  'resnet8': ((32, 32, 3), 77_850),
}

# Fields that make a model quick to compile and run.
SMALL = {
  'char_lstm': {'embedding': 3, 'width': 5, 'layers': 2},
  'cifar_cnn': {'channels': (8, 8), 'num_groups': 4},
  'mcmahan_cnn': {},
  'mlp': {'widths': (6, 5)},
  'resnet18': {'blocks_per_stage': 1, 'width': 4, 'num_groups': 2},
  'resnet20': {'blocks_per_stage': 2, 'width': 4, 'num_groups': 2},
  'resnet8': {'width': 4, 'num_groups': 2},
}
RESNET_FIELDS = ['blocks_per_stage', 'width', 'num_groups', 'num_stages']


def batch_of(name: str, *shape: int):
  """Returns type and shape of inputs of a model."""
  dtype = jnp.int32 if name in OF_TOKENS else jnp.float32
  return jax.ShapeDtypeStruct(shape, dtype)


def init_shapes(name: str, model, input_shape: tuple[int, ...]):
  """Returns the variables of a model, as shapes: nothing is computed."""
  x = batch_of(name, 1, *input_shape)
  return jax.eval_shape(model.init, jax.random.key(0), x)


def make_small(name: str, *clients: int):
  """Returns a small model, random parameters and inputs for it."""
  model = models.make(name, NUM_CLASSES, **SMALL[name])
  rng = np.random.default_rng(0)

  def draw(shape):
    return np.float32(rng.normal(size=(*clients, *shape)) / 4)

  is_text = name in OF_TOKENS
  shapes = init_shapes(name, model, (6,) if is_text else (8, 8, 2))['params']
  params = jax.tree.map(lambda leaf: draw(leaf.shape), shapes)
  if is_text:
    return model, params, rng.integers(NUM_CLASSES, size=(*clients, 3, 6))
  return model, params, draw((3, 8, 8, 2))


@functools.cache
def compile_small(name: str):
  """Returns (params, images) -> logits of a small model."""
  model = models.make(name, NUM_CLASSES, **SMALL[name])

  def apply(params, images):
    return model.apply({'params': params}, images)

  # Run once: most of the time would go into optimising.
  return jax.jit(apply)


def test_every_model_is_tested():
  assert set(SIZES) == set(SMALL) == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('num_classes', [2, 10])
def test_logits_are_one_float32_row_a_target(name: str, num_classes: int):
  model, input_shape = models.make(name, num_classes), SIZES[name][0]
  inputs = batch_of(name, 4, *input_shape)
  variables = init_shapes(name, model, input_shape)
  logits = jax.eval_shape(model.apply, variables, inputs)
  per_input = input_shape if name in OF_TOKENS else ()
  assert logits.shape == (4, *per_input, num_classes)
  assert logits.dtype == jnp.float32


@pytest.mark.parametrize('name', NAMES)
def test_number_of_parameters_is_pinned(name: str):
  input_shape, expected = SIZES[name]
  variables = init_shapes(name, models.make(name, NUM_CLASSES), input_shape)
  leaves = jax.tree.leaves(variables['params'])
  assert sum(leaf.size for leaf in leaves) == expected
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype('float32')}


@pytest.mark.parametrize('name', NAMES)
def test_parameters_are_the_only_state(name: str):
  model = models.make(name, NUM_CLASSES)
  variables = init_shapes(name, model, SIZES[name][0])
  assert set(variables) == {'params'}


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_vmap_over_parameters_equals_a_loop(name: str):
  model, params, images = make_small(name, CLIENTS)

  def apply(params, images):
    return model.apply({'params': params}, images)

  vmapped = jax.jit(jax.vmap(apply))
  logits = vmapped(params, images)
  assert logits.std() > 1e-2
  for client in range(CLIENTS):
    own = jax.tree.map(lambda leaf, c=client: leaf[c], params)
    expected = compile_small(name)(own, images[client])
    np.testing.assert_allclose(logits[client], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_last_layer_is_named_output(name: str):
  _, params, images = make_small(name)
  assert set(params['output']) == {'kernel', 'bias'}
  assert params['output']['kernel'].shape[-1] == NUM_CLASSES
  # Whatever is added to the bias of `output` is added to the logits.
  logits = compile_small(name)(params, images)
  shift = np.arange(NUM_CLASSES, dtype=np.float32)
  output = {**params['output'], 'bias': params['output']['bias'] + shift}
  shifted = compile_small(name)({**params, 'output': output}, images)
  np.testing.assert_allclose(shifted, logits + shift, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_inputs_of_a_batch_do_not_influence_each_other(name: str):
  _, params, images = make_small(name)
  changed = images.copy()
  changed[1:] = changed[1:] ^ 1 if name in OF_TOKENS else 1 - 2 * changed[1:]
  before, after = (compile_small(name)(params, x) for x in (images, changed))
  np.testing.assert_allclose(after[0], before[0], rtol=1e-5, atol=1e-5)
  assert not np.allclose(after[1:], before[1:], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_vmapped_gradient_has_no_convolution(name: str):
  model, params, images = make_small(name, CLIENTS)

  def loss(params, images):
    return jnp.sum(model.apply({'params': params}, images) ** 2)

  per_client = jax.jit(jax.vmap(jax.grad(loss)))
  text = per_client.lower(params, images).as_text()
  assert 'stablehlo.dot_general' in text
  assert 'stablehlo.convolution' not in text


def test_unknown_name_raises_and_lists_the_known_ones():
  with pytest.raises(ValueError, match="'mpl' is not one of") as caught:
    models.make('mpl', NUM_CLASSES)
  assert str(NAMES) in str(caught.value)


@pytest.mark.parametrize(
  ('name', 'fields'),
  [
    ('char_lstm', ['embedding', 'width', 'layers', 'unroll']),
    ('cifar_cnn', ['channels', 'num_groups', 'hidden']),
    ('mcmahan_cnn', []),
    ('mlp', ['widths']),
    *((name, RESNET_FIELDS) for name in ('resnet8', 'resnet18', 'resnet20')),
  ],
)
def test_unknown_field_raises_and_lists_the_known_ones(
  name: str, fields: list[str]
):
  with pytest.raises(ValueError, match="'depth'") as caught:
    models.make(name, NUM_CLASSES, depth=3)
  assert f'{name!r} takes the fields {fields}: ' in str(caught.value)


@pytest.mark.parametrize('name', [n for n in NAMES if SMALL[n]])
def test_fields_reach_the_model(name: str):
  model = models.make(name, NUM_CLASSES, **SMALL[name])
  for field, value in SMALL[name].items():
    assert getattr(model, field) == value


def test_dense_layer_of_cifar_cnn_has_as_many_units_as_it_is_told():
  model = models.make('cifar_cnn', NUM_CLASSES, hidden=256)
  params = init_shapes('cifar_cnn', model, (32, 32, 3))['params']
  assert params['hidden']['kernel'].shape == (1024, 256)
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 321_450


@pytest.mark.slow
def test_char_lstm_tells_each_token_from_those_before_it():
  _, params, tokens = make_small('char_lstm')
  changed = tokens.copy()
  changed[:, 4] ^= 1
  before, after = (
    compile_small('char_lstm')(params, x) for x in (tokens, changed)
  )
  np.testing.assert_array_equal(before[:, :4], after[:, :4])
  assert np.all(np.any(before[:, 4:] != after[:, 4:], axis=-1))


@pytest.mark.slow
def test_char_lstm_is_a_plain_lstm_written_out_or_not():
  _, params, tokens = make_small('char_lstm')
  logits = compile_small('char_lstm')(params, tokens)
  written_out = models.make(
    'char_lstm', NUM_CLASSES, **SMALL['char_lstm'], unroll=True
  )
  np.testing.assert_allclose(
    jax.jit(written_out.apply)({'params': params}, tokens), logits, rtol=1e-5
  )
  x = params['embedding']['embedding'][tokens]
  for i in range(2):
    x = _lstm(params[f'lstm_{i}'], x)
  expected = x @ params['output']['kernel'] + params['output']['bias']
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def _lstm(cell, x):
  """Returns the outputs of a layer [B, T, width], a step at a time."""

  def sigmoid(x):
    return 1 / (1 + np.exp(-x))

  carry = output = np.zeros((len(x), len(cell['hi']['bias'])))
  outputs = []
  for t in range(x.shape[1]):
    i, f, g, o = (
      x[:, t] @ cell[f'i{gate}']['kernel']
      + output @ cell[f'h{gate}']['kernel']
      + cell[f'h{gate}']['bias']
      for gate in 'ifgo'
    )
    carry = sigmoid(f) * carry + sigmoid(i) * np.tanh(g)
    output = sigmoid(o) * np.tanh(carry)
    outputs.append(output)
  return np.stack(outputs, axis=1)
