"""Every config under experiments/ builds, tiny, and says how to run it."""

import ast
import csv
import importlib.util
import json
import pathlib
import re
import shlex

import jax
import jax.numpy as jnp
import pytest

from fps_jax import models
from fps_jax.config.validate import validate
from fps_jax.config.variants import resolve_variants
from fps_jax.jobs import notices
from fps_jax.jobs.sharing_throughput import job as sharing_throughput
from tests.helpers import small

_FOLDER = pathlib.Path(__file__).parent.parent / 'experiments'
_FILES = sorted(_FOLDER.glob('*.py'))


def _load(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _of_all(path, arguments):
  """Returns arguments with which tiny configs leave no variant out."""
  if arguments != 'tiny' or path.stem not in ('poisoning', 'pruning_ablation'):
    return arguments
  names = list(_load(path).get_config('').variants)
  if path.stem == 'pruning_ablation':
    return f'tiny,variants={"+".join(names)}'
  attacks, rules = zip(*(name.split('--') for name in names), strict=True)
  chosen = ('+'.join(dict.fromkeys(each)) for each in (attacks, rules))
  return 'tiny,attacks={},defences={}'.format(*chosen)


@pytest.mark.slow
@pytest.mark.parametrize('path', _FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize('arguments', ['', 'tiny'])
def test_config_is_valid_and_tiny_ones_build_without_a_warning(path, arguments):
  config = _load(path).get_config(_of_all(path, arguments))
  if config.job == 'sharing_throughput':
    sharing_throughput.validate(config)
    return
  for variant in resolve_variants(config).values():
    validate(variant)
    if arguments == 'tiny':
      simulation = small.make(variant)
      said = notices.before_run(variant, [simulation])
      # Three rounds have none in which weights grow back.
      assert [line for line in said if 'grow back' not in line] == []


@pytest.mark.thorough
def test_every_attack_meets_every_defence_in_a_valid_config():
  poisoning = _load(_FOLDER / 'poisoning.py')
  chosen = [
    f'{kind}=' + '+'.join(known)
    for kind, known in (
      ('attacks', poisoning.ATTACKS),
      ('defences', poisoning.DEFENCES),
    )
  ]
  variants = resolve_variants(poisoning.get_config(','.join(chosen)))
  assert len(variants) == len(poisoning.ATTACKS) * len(poisoning.DEFENCES)
  for variant in variants.values():
    validate(variant)


@pytest.mark.parametrize(
  ('data', 'image'), [('mnist', (28, 28, 1)), ('cifar10', (32, 32, 3))]
)
def test_wide_model_keeps_as_many_parameters(data, image):
  def kept(variant):
    name = variant.model.name
    model = models.make(name, 10, **variant.model.args[name])
    params = jax.eval_shape(
      model.init, jax.random.key(0), jnp.zeros((1, *image))
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return size * (1 - variant.pruning.sparsity)

  ablation = _load(_FOLDER / 'pruning_ablation.py')
  config = ablation.get_config(f'data={data},variants=cubic+wide')
  cubic, wide = resolve_variants(config).values()
  assert kept(wide) == pytest.approx(kept(cubic), abs=0.01)


def test_ablation_of_unknown_data_is_refused():
  ablation = _load(_FOLDER / 'pruning_ablation.py')
  with pytest.raises(ValueError, match=r"data=svhn is not one of \['mnist'"):
    ablation.get_config('data=svhn')


def test_poisoning_learns_cifar10_and_refuses_unknown_data():
  poisoning = _load(_FOLDER / 'poisoning.py')
  config = poisoning.get_config('data=cifar10,attacks=none,defences=fedavg')
  (variant,) = resolve_variants(config).values()
  validate(variant)
  assert (variant.data.source, variant.model.name) == ('cifar10', 'cifar_cnn')
  with pytest.raises(ValueError, match="data=mars is neither 'mnist' nor"):
    poisoning.get_config('data=mars')


def _value(text):
  if text.startswith('('):
    return ast.literal_eval(text)
  try:
    return json.loads(text)
  except ValueError:
    return text


def _of_command(command):
  """Returns the config that a row's command asks for."""
  given = dict(
    flag.removeprefix('--').split('=', 1)
    for flag in shlex.split(command)
    if '=' in flag
  )
  path, _, arguments = given.pop('config').partition(':')
  config = _load(_FOLDER.parent / path).get_config(arguments)
  config.update_from_flattened_dict(
    {
      name.removeprefix('config.'): _value(value)
      for name, value in given.items()
      if name.startswith('config.')
    }
  )
  return config


@pytest.mark.parametrize(
  ('rows_of', 'arguments'),
  [
    ('cifar10_long', 'methods=fedavg+fedpruneshare_90'),
    ('cifar10_resnet8', 'model=resnet8,methods=fedavg+fedpruneshare_90'),
  ],
)
def test_rows_of_the_long_training_were_made_with_its_settings(
  rows_of, arguments
):
  path = _FOLDER / 'results' / f'{rows_of}.csv'
  config = _load(_FOLDER / 'cifar10_long.py').get_config(arguments)
  study = resolve_variants(config)
  with path.open() as file:
    rows = list(csv.DictReader(file))
  assert list(dict.fromkeys(row['variant'] for row in rows)) == list(study)
  made_under = [(row['variant'], row['seed']) for row in rows]
  assert len(set(made_under)) == len(made_under)
  for row in rows:
    (made,) = resolve_variants(_of_command(row['command'])).values()
    expected = study[row['variant']]
    assert list(made.seeds) == [int(row['seed'])]
    made.seeds = expected.seeds
    # Of the report alone, and where it ran.
    made.name, made.baseline = expected.name, expected.baseline
    made.perf = expected.perf
    if row['variant'] == 'fedavg':
      # It reads nothing else of them.
      assert made.pruning.schedule == expected.pruning.schedule == 'none'
      assert made.sharing.scheme == expected.sharing.scheme == 'none'
      made.pruning, made.sharing = expected.pruning, expected.sharing
    else:
      # The sums of `shamir` bit for bit.
      assert made.sharing.scheme == 'ideal'
      made.sharing.scheme = expected.sharing.scheme
    assert made.to_dict() == expected.to_dict()


@pytest.mark.parametrize('path', _FILES, ids=lambda path: path.stem)
def test_config_says_its_command_and_is_in_the_readme(path):
  command = f'python launch.py --config=experiments/{path.name}'
  assert command in _load(path).__doc__
  assert command in (_FOLDER / 'README.md').read_text()


def test_every_study_of_the_readme_has_the_same_parts_in_order():
  readme = (_FOLDER / 'README.md').read_text()
  readme = readme.replace('**Commands.**', '**Command.**')
  sections = re.split(r'^#{2,3} ', readme, flags=re.MULTILINE)
  studies = [text for text in sections if '**Question.**' in text]
  assert len(studies) >= len(_FILES)
  for text in studies:
    assert re.findall(r'^\*\*(.*?)\.\*\*', text, re.MULTILINE) == [
      'Question',
      'Command',
      'Setting',
      'Result',
      'What it says',
      'What it does not say',
    ], text[:40]


def test_readme_shows_every_figure_and_its_links_lead_to_headings():
  readme = (_FOLDER / 'README.md').read_text()
  figures = {path.name for path in (_FOLDER / 'figures').iterdir()}
  assert set(re.findall(r'\]\(figures/(.*?)\)', readme)) == figures
  headings = re.findall(r'^#+ (.*)', readme, re.MULTILINE)
  # As GitHub and myst make them.
  anchors = [
    re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
    for heading in headings
  ]
  assert len(set(anchors)) == len(anchors)
  assert set(re.findall(r'\]\(#(.*?)\)', readme)) <= set(anchors)
