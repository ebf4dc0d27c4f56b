"""Every config under experiments/ builds, tiny, and says how to run it."""

import importlib.util
import pathlib

import pytest
import small

from fps_jax import study
from fps_jax.validate import validate

_FOLDER = pathlib.Path(__file__).parent.parent / 'experiments'
_FILES = sorted(_FOLDER.glob('*.py'))


def _load(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize('path', _FILES, ids=lambda path: path.stem)
def test_full_config_is_valid(path):
  for variant in study.resolve_variants(_load(path).get_config()).values():
    validate(variant)


@pytest.mark.parametrize('path', _FILES, ids=lambda path: path.stem)
def test_tiny_config_builds_every_variant(path):
  config = _load(path).get_config('tiny')
  for variant in study.resolve_variants(config).values():
    validate(variant)
    small.make(variant)


@pytest.mark.parametrize('path', _FILES, ids=lambda path: path.stem)
def test_config_says_its_command_and_is_in_the_readme(path):
  command = f'python launch.py --config=experiments/{path.name}'
  assert command in _load(path).__doc__
  assert command in (_FOLDER / 'README.md').read_text()
