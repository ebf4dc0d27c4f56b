"""Devices to compile for, by name; what is mistaken about one is said."""

import re

import pytest

from fps_jax.core import extras
from fps_jax.core.accelerators import ACCELERATORS
from fps_jax.jobs.compile_for import target


@pytest.mark.parametrize(
  ('name', 'sizes'),
  [
    ('cuda:h200', (1, 1)),
    ('cuda:h100:8', (1, 8)),
    ('cuda:a100:2x8', (2, 8)),
    ('tpu:v5e:2x4', (2, 4)),
    ('tpu:v5p:2x2x1', (2, 2, 1)),
  ],
)
def test_name_says_which_devices_and_how_many(
  name: str, sizes: tuple[int, ...]
):
  wanted = target.parse(name)
  assert (wanted.name, wanted.sizes) == (name, sizes)
  platform, kind, *_ = name.split(':')
  assert wanted.platform == platform
  assert wanted.accelerator is ACCELERATORS[f'{platform}:{kind}']


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('h200', "'h200:' is not one of"),
    ('cuda:h20', "'cuda:h20' is not one of .*did you mean cuda:h200?"),
    ('cpu:8', "'cpu:8' is not one of .*'cuda:h200'.*'tpu:v5e'"),
    ('', "':' is not one of"),
    ('tpu:v5e', "'' does not say how many devices: give .*tpu:v5e:2x4"),
    ('tpu:v5e:8', "'8' does not say how many"),
    ('cuda:h200:0', "'0' does not say how many"),
    ('cuda:h200:1x2x3', "'1x2x3' does not say how many"),
    ('cuda:h200:many', "'many' does not say how many"),
    ('cuda:h200:2x', "'2x' does not say how many"),
  ],
)
def test_name_that_is_mistaken_is_refused_with_what_there_is(
  name: str, message: str
):
  with pytest.raises(ValueError, match=f'--compile_for={name}: {message}'):
    target.parse(name)


@pytest.mark.parametrize(
  ('name', 'package', 'extra'),
  [
    ('cuda:h200', 'jax_cuda13_plugin', 'cuda'),
    ('tpu:v5e:2x4', 'libtpu', 'tpu'),
  ],
)
def test_compiler_that_is_missing_is_named_with_its_extra(
  monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
):
  monkeypatch.setattr(extras.importlib.util, 'find_spec', lambda _: None)
  with pytest.raises(extras.MissingPackageError) as caught:
    target.parse(name).devices()
  assert str(caught.value) == (
    f'--compile_for={name} needs the package {package}: install it with '
    f"pip install 'fps_jax[{extra}]'"
  )


def test_gpu_is_described_as_xla_has_it():
  text = target.describe_gpu(ACCELERATORS['cuda:h200'])
  fields = dict(re.findall(r'(\w+): (\S+)', text))
  assert fields['core_count'] == '132'
  assert fields['device_memory_size'] == '150754820096'
  assert fields['memory_bandwidth'] == '4800000000000'
  assert fields['shared_memory_per_block_optin'] == '232448'
  assert text.count('{') == text.count('}')


def test_accelerators_are_told_apart_by_their_kind():
  kinds = [each.kind for each in ACCELERATORS.values()]
  assert len(set(kinds)) == len(kinds)
  for name, each in ACCELERATORS.items():
    assert (each.gpu is None) == name.startswith('tpu:')
    assert each.usable_bytes <= each.memory_bytes
