"""What nobody would ever read is refused, wherever it is."""

from unittest import mock

import pytest
from ml_collections import ConfigDict

from fps_jax.attacks.updates import UPDATE_ATTACKS
from fps_jax.config import defaults as configs
from fps_jax.config import known
from fps_jax.config.checks import whole
from fps_jax.config.section import Field, Section
from fps_jax.config.sections import JOB_SECTIONS
from fps_jax.config.validate import validate
from fps_jax.config.variants import resolve_variants
from fps_jax.jobs import run as jobs
from fps_jax.jobs import study
from fps_jax.jobs.inversion import job as inversion_job
from fps_jax.jobs.options import Options
from fps_jax.jobs.planning import job as planning
from fps_jax.jobs.sharing_throughput import job as sharing_throughput
from fps_jax.jobs.study import StudyError
from fps_jax.jobs.throughput import job as throughput
from fps_jax.jobs.tradeoff import job as tradeoff
from tests.helpers.config_cases import problems

# Jobs, and a section of theirs.
_JOBS = (
  (study, configs.default, 'pruning'),
  (tradeoff, tradeoff.default, 'tradeoff'),
  (throughput, throughput.default, 'timing'),
  (planning, planning.default, 'planning'),
  (inversion_job, inversion_job.default, 'inversion'),
  (sharing_throughput, sharing_throughput.default, ''),
)


@pytest.mark.parametrize(('job', 'default', 'section'), _JOBS)
def test_misspelt_field_is_an_error_where_a_file_assigns_it(
  job, default, section
):
  config = default()
  with pytest.raises(AttributeError, match='Did you mean "name" instead of'):
    config.nme = 'mine'
  if section:
    with pytest.raises(AttributeError, match='config is locked'):
      config[section].none_such = 1


@pytest.mark.parametrize(('job', 'default', 'section'), _JOBS)
def test_job_refuses_a_field_that_nobody_knows_before_anything_is_written(
  job, default, section, tmp_path
):
  config = ConfigDict(default().to_dict())
  changed = config[section] if section else config
  changed.none_such = 3
  run = getattr(job, 'run', study.run_study)
  with pytest.raises(StudyError, match=r'none_such=3 is not a field of a conf'):
    run(config, tmp_path / 'work', [], Options())
  assert not (tmp_path / 'work').exists()


def test_file_adds_arguments_variants_and_a_section_of_its_job(monkeypatch):
  own = Section('mine', {'depth': Field(3, whole(1))})
  monkeypatch.setitem(JOB_SECTIONS, 'digging', own)
  config = configs.default()
  config.job = 'digging'
  configs.add_section(config)
  config.attack.args.drown = {'factor': 3.0}
  config.variants.one = {'pruning': {'sparsity': 0.5}}
  assert config.mine.depth == 3
  with pytest.raises(AttributeError, match='Did you mean "depth"'):
    config.mine.dept = 4
  config.mine.depth = 0
  with pytest.raises(ValueError, match=r'mine\.depth=0 must be at least 1$'):
    validate(config)


@pytest.mark.parametrize(
  ('name', 'value', 'said'),
  [
    (
      'pruning.sparsty',
      0.4,
      "=0.4 is not a field of a config of job='study': did you mean "
      'pruning.sparsity?',
    ),
    ('seds', (1,), "=(1,) is not a field of a config of job='study': did you "),
    ('prunning', {'a': 1}, "={'a': 1} is not a field"),
    ('client.sparsity', 0.4, "job='study': did you mean pruning.sparsity?"),
    ('timing', {'rounds': 3}, "={'rounds': 3} is not a field of"),
    ('eval.more', {}, '={} is not a field of'),
    (
      'attack.args.ali',
      {'deviations': 3},
      "={'deviations': 3} has arguments of 'ali', which is not registered: did "
      'you mean attack.args.alie?',
    ),
    (
      'defence.args.fltrust.max_scal',
      3.0,
      "=3.0 is not an argument of 'fltrust', which takes ['max_scale']: did "
      'you mean defence.args.fltrust.max_scale?',
    ),
    (
      'attack.args.wrap_around',
      {'limit': 3.0},
      '.limit=3.0 is not an argument',
    ),
    ('attack.args.mimic.x', 1, "of 'mimic', which takes ['target']"),
    ('attack.args.label_flip', {'x': 1}, '.x=1 is not an argument'),
    ('data.partition_args.shards.size', 3, "takes ['shards_per_client']"),
    ('profiles.args.same.size', 3.0, "takes ['gflops', "),
    ('model.args.resnet8.depth', 3, "takes ['blocks_per_stage', 'width', "),
    ('model.args.mlp.num_classes', 3, "takes ['widths']"),
  ],
)
def test_what_nobody_knows_is_refused_with_the_nearest_name(name, value, said):
  config = configs.default().unlock()
  *path, field = name.split('.')
  section = config
  for part in path:
    section = section[part]
  section[field] = value
  (found,) = problems(config)
  assert found.startswith(name)
  assert said in found


@pytest.mark.parametrize(
  ('override', 'line'),
  [
    (
      {'pruning': {'sparsty': 0.4}},
      r'variants\.one\.pruning\.sparsty=0\.4 is not a field of the config: did '
      r'you mean variants\.one\.pruning\.sparsity\?',
    ),
    ({'defence': {'args': {'fltrst': {}}}}, r'fltrst={} .* args\.fltrust\?'),
  ],
)
def test_variant_that_sets_what_nobody_knows_is_refused(override, line):
  config = configs.default()
  config.variants.one = override
  with pytest.raises(ValueError, match=line.replace(' .* ', '.*')):
    resolve_variants(config)


@pytest.mark.parametrize(
  ('fields', 'said'),
  [
    ({}, r"job=None is not one of \['inversion'"),
    (
      {'job': 'study', 'name': 'mine'},
      r'no seeds, num_rounds, .*default\(\)$',
    ),
  ],
)
def test_config_built_by_hand_is_told_what_it_lacks(fields, said, tmp_path):
  with pytest.raises(StudyError, match=said):
    jobs.run(ConfigDict(fields), tmp_path / 'work', [])
  assert not (tmp_path / 'work').exists()


def test_arguments_of_what_a_file_registers_are_known():
  config = configs.default()
  config.attack.args.drown = {'factor': 3.0}
  (found,) = problems(config)
  assert "arguments of 'drown', which is not registered" in found
  with mock.patch.dict(UPDATE_ATTACKS, drown=lambda factor: None):
    validate(config)
    config.attack.args.drown = {'fator': 3.0}
    (found,) = problems(config)
  assert found.endswith('did you mean attack.args.drown.factor?')
  with mock.patch.dict(UPDATE_ATTACKS, drown=lambda **anything: None):
    validate(config)


def test_nothing_far_is_suggested():
  assert known.hint('pruning.xyz', ['pruning.sparsity', 'name']) == ''
