"""Tests of `fps_jax.config.sections`: every field refuses what it cannot be."""

from typing import Any

import pytest
from ml_collections import ConfigDict

from fps_jax.config import checks, sections
from fps_jax.config import defaults as configs
from fps_jax.config.section import Field
from fps_jax.config.validate import validate
from fps_jax.jobs.inversion import job
from fps_jax.jobs.throughput import job as throughput
from fps_jax.jobs.tradeoff import job as tradeoff
from tests.helpers.config_cases import (
  LEAVES,
  WILD,
  is_right,
  leaves,
  make_config,
  problems,
)


def put(config: ConfigDict, name: str, value: Any) -> None:
  """Sets a field to a value of any type."""
  *sections, field = name.split('.')
  for part in sections:
    config = config[part]
  with config.ignore_type():
    config[field] = value


@pytest.mark.parametrize(
  'default',
  [configs.default, job.default, tradeoff.default, throughput.default],
)
def test_every_field_of_the_defaults_has_a_check_and_no_other(default):
  config = default()
  assert set(leaves(config)) == set(sections.fields_of(config.job))
  validate(config)


@pytest.mark.slow
@pytest.mark.parametrize('name', list(LEAVES))
def test_wild_values_of_every_field_are_refused_by_name(name: str):
  default = LEAVES[name]
  for value in WILD[type(0.5 if default is None else default)]:
    if is_right(name, value):
      continue
    config = configs.default()
    put(config, name, value)
    found = problems(config)
    assert [line for line in found if line.startswith(f'{name}=')], value
    assert all(len(line) < 300 for line in found)


@pytest.mark.parametrize(
  'section', ['data', 'data.partition_args', 'attack.args.ipm', 'eval']
)
@pytest.mark.parametrize('value', [None, 3, ()])
def test_section_that_is_none_is_refused_once(section: str, value: Any):
  config = configs.default()
  put(config, section, value)
  assert problems(config) == [
    f'{section}={value!r} must be a section of fields'
  ]


def test_missing_fields_are_refused_but_for_arguments():
  config = configs.default().unlock()
  del config.client.momentum
  del config.eval
  assert problems(config) == [
    f'{name} is missing: begin with fps_jax.config.defaults.default()'
    for name in ('client.momentum', 'eval')
  ]
  config = configs.default().unlock()
  del config.attack.args.ipm
  del config.profiles.args
  del config.data.partition_args.shards.shards_per_client
  validate(config)


def test_numbers_of_float32_are_taken_up_to_its_limits():
  for name in ('client.learning_rate', 'server.learning_rate'):
    for value in (1.2e-38, 3.4e38):
      validate(make_config((name, value)))
    (found,) = problems(make_config((name, 1e-39)))
    assert f'{name}=1e-39 must be at least 1.18e-38' in found
    (found,) = problems(make_config((name, 3.5e38)))
    assert 'must be in +-3.40e+38' in found


def test_long_values_are_shown_in_part():
  assert checks.show(10**400) == '(an int of 1329 bits)'
  assert checks.show((10**5000,)) == '(more digits than can be shown)'
  assert checks.show('n' * 200) == "'" + 'n' * 99 + '...'
  assert checks.show((1, 'a')) == "(1, 'a')"


def test_field_that_is_one_line_of_its_section_is_in_all_of_config(monkeypatch):
  section = sections.SECTIONS['client']
  more = {**section.fields, 'patience': Field(3, checks.whole(1), 'epochs')}
  monkeypatch.setitem(
    sections.SECTIONS, 'client', section._replace(fields=more)
  )
  config = configs.default()
  assert config.client.patience == 3
  validate(config)
  put(config, 'client.patience', 0)
  assert problems(config) == ['client.patience=0 must be at least 1']
  config = configs.default().unlock()
  config.client.patiense = 4
  assert problems(config) == [
    "client.patiense=4 is not a field of a config of job='study': did you mean "
    'client.patience?'
  ]
