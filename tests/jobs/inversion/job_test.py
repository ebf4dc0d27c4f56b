"""Tests of the job `inversion`: its cases, rounds and files."""

import dataclasses
import importlib
import json
import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from fps_jax import data
from fps_jax.jobs.inversion import cases, job, training
from fps_jax.jobs.inversion.measure import InversionBench
from fps_jax.jobs.inversion.model import make_model
from fps_jax.jobs.inversion.search import Search
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError
from tests.helpers import small

_ROOT = pathlib.Path(__file__).parents[3]


def inversion_config() -> ConfigDict:
  """Returns a config whose cases of one client share one program."""
  config = job.default()
  config.data.source = 'mnist_sample'
  config.seeds = (0, 3)
  config.inversion.images_per_client = (1,)
  config.inversion.width = 2
  config.inversion.local_steps = ()
  config.inversion.plain_smoothness = 0.0
  config.inversion.roundings = ((8, 0.5),)
  config.inversion.servers = ((3, 2, 1),)
  config.inversion.clients = ()
  config.inversion.sparsities = (0.5,)
  config.inversion.sketches = ()
  config.inversion.joint_clients = 1
  config.inversion.joint_sparsity = 0.9
  config.inversion.iterations = 2
  config.inversion.restarts = 1
  config.inversion.step_size = 0.1
  return config


def test_every_view_is_a_case():
  config = inversion_config()
  config.inversion.local_steps = (4,)
  config.inversion.servers = ((3, 2, 1), (5, 4, 2))
  config.inversion.clients = (2, 10)
  config.inversion.sketches = ((64, 0.1),)
  config.inversion.joint_clients = 10
  made = cases.make_cases(config)
  assert [case.name for case in made] == [
    'plain',
    'plain_divided',
    'plain_4_steps',
    'opened_8_bits',
    'shares_1_of_3_2_1',
    'shares_2_of_5_4_2',
    'shares_3_of_5_4_2',
    'noise',
    'class_mean',
    'sum_2_clients',
    'sum_10_clients',
    'pruned_50',
    'sketch_64',
    'fedpruneshare',
  ]
  assert made[2].num_steps == 4
  assert [case.num_clients for case in made[9:11]] == [2, 10]
  assert made[11].sparsity == 0.5
  assert (made[13].num_clients, made[13].sparsity) == (10, 0.9)


def test_networks_are_attacked_in_a_few_views_in_place_of_all(monkeypatch):
  monkeypatch.syspath_prepend(str(_ROOT / 'experiments'))
  made = importlib.import_module('inversion').get_config(
    'tiny,networks=perceptron_500+lenet'
  )
  config = inversion_config()
  config.inversion.networks = made.inversion.networks
  assert config.inversion.networks == (('perceptron', 500), ('lenet', 0))
  found = cases.make_cases(config)
  assert [(case.name, case.trained_steps) for case in found] == [
    ('perceptron_500_plain', 500),
    ('perceptron_500_divided', 500),
    ('perceptron_500_opened', 500),
    ('perceptron_500_sum', 500),
    ('perceptron_500_fedpruneshare', 500),
    ('lenet_0_plain', 0),
    ('lenet_0_by_layer', 0),
    ('lenet_0_opened', 0),
    ('lenet_0_sum', 0),
    ('lenet_0_fedpruneshare', 0),
  ]
  assert [case.network for case in found] == 5 * ['perceptron'] + 5 * ['lenet']
  by_layer = [case.name for case in found if case.by_layer]
  assert by_layer == ['lenet_0_by_layer', 'lenet_0_sum']


def test_noise_is_attacked_in_place_of_all_views(monkeypatch):
  monkeypatch.syspath_prepend(str(_ROOT / 'experiments'))
  config = importlib.import_module('inversion').get_config('noise=0+0.01')
  assert [case.name for case in cases.make_cases(config)] == [
    'noised_0_1_clients',
    'noised_0.01_1_clients',
    'noised_0_10_clients',
    'noised_0.01_10_clients',
  ]
  config.inversion.networks = (('lenet', 0),)
  with pytest.raises(ValueError, match=r'set one of them to \(\)'):
    cases.make_cases(config)


def _bench(dataset, model, num_held_out):
  models = {'perceptron': model}
  search = Search(1, 1, 0.1)
  return InversionBench(dataset, models, search, 0.1, (5,), num_held_out)


@pytest.mark.slow
def test_no_model_is_trained_on_images_under_attack_and_it_learns_others():
  dataset = data.load('mnist_sample')
  case = cases.Case('trained', '', cases.views.plain(), trained_steps=30)
  model = make_model(dataset.image_shape, 10, 16)
  trial = _bench(dataset, model, 4).draw(case, 4, seed=5)
  order = np.random.default_rng(5).permutation(len(dataset.train_targets))
  held_out, pixels = order[:4], dataset.train_inputs.copy()
  pixels[held_out] = 255 - pixels[held_out]
  changed = dataclasses.replace(dataset, train_inputs=pixels)
  bench = _bench(changed, model, 4)
  again = bench.draw(case, 4, seed=5)
  assert again.known.params_D.tolist() == trial.known.params_D.tolist()
  np.testing.assert_allclose(again.images, 1 - trial.images, atol=1e-6)
  untrained = dataclasses.replace(case, trained_steps=0)
  start_D = bench.draw(untrained, 4, seed=5).known.params_D
  before, after = (
    training.accuracy(model.apply, params_D, dataset)
    for params_D in (start_D, trial.known.params_D)
  )
  assert after > before + 0.2


@pytest.mark.slow
def test_job_writes_what_it_measured(tmp_path, capsys):
  config = inversion_config()
  options = Options(prints_json=True)
  job.run(config, tmp_path / 'run', ['launch.py'], options)
  results = json.loads((tmp_path / 'run' / 'results.json').read_text())
  assert results['seeds'] == [0, 3]
  assert results['environment']['argv'] == ['launch.py']
  rows = {row['case']: row for row in results['rows']}
  assert len(rows) == 8
  for row in rows.values():
    assert np.shape(row['psnr']) == (2, 1)
    assert row['network'] == 'perceptron'
    assert row['parameters'] == 784 * 2 + 2 + 2 * 10 + 10
    assert row['psnr_min'] <= row['psnr_mean'] <= row['psnr_max']
    assert row['psnr_mean'] == pytest.approx(np.mean(row['psnr']))
    assert row['recognised'] == np.mean(np.array(row['psnr']) >= 20)
    assert row['chance_psnr_mean'] == rows['plain']['chance_psnr_mean'] < 20
  # Two iterations find no image; the closed form needs none.
  assert rows['plain']['psnr_max'] < 20 < rows['plain_divided']['psnr_min']
  assert rows['pruned_50']['sparsity'] == 0.5
  report = (tmp_path / 'run' / 'report.md').read_text()
  for row in rows.values():
    numbers = (f'{row[f"psnr_{kind}"]:.1f}' for kind in ('mean', 'min', 'max'))
    assert f'| {" | ".join((row["title"], *numbers))} |' in report
  for name in ('inversion_images.png', 'inversion_psnr.png', 'config.json'):
    assert (tmp_path / 'run' / name).stat().st_size > 0
  last = capsys.readouterr().out.rstrip('\n').splitlines()[-1]
  assert json.loads(last)['cases'] == 8


@pytest.mark.slow
def test_cases_attack_the_same_images_client_by_client():
  config = inversion_config()
  config.inversion.clients = (2,)
  dataset = data.load('mnist_sample')
  model = make_model(dataset.image_shape, 10, 2)
  bench = _bench(dataset, model, 6)
  made = {case.name: case for case in cases.make_cases(config)}
  alone = bench.run(made['class_mean'], images_per_client=3)
  trial = bench.draw(made['sum_2_clients'], 3, seed=5)
  first = np.asarray(trial.images[0, ..., 0])
  assert np.array_equal(alone.originals[0], first)
  assert trial.known.params_D.tolist() == model.init(jax.random.key(5)).tolist()
  # No image is dealt twice, and the others are others of the same labels.
  images = np.concatenate([trial.images, trial.others]).reshape(12, -1)
  assert len(np.unique(images, axis=0)) == 12
  pixels = dataset.train_inputs.reshape(len(dataset.train_targets), -1) / 255
  for shown in (trial.images, trial.others):
    for image, label in zip(
      np.reshape(shown, (6, -1)), trial.known.labels_CxB.ravel(), strict=True
    ):
      (row,) = np.flatnonzero(np.abs(pixels - image).max(axis=1) < 1e-6)
      assert dataset.train_targets[row] == label


@pytest.mark.parametrize(
  ('name', 'value', 'message'),
  [
    ('images_per_client', (), r'images_per_client=\(\) must hold'),
    ('images_per_client', (0,), r'has the entry 0, which must be at least 1'),
    ('width', 0, r'width=0 must be at least 1'),
    ('iterations', 0, r'iterations=0 must be at least 1'),
    (
      'roundings',
      ((8, -0.1),),
      r'must be \(value bits, weight\), but its -0.1 .* least 0',
    ),
    ('plain_smoothness', -1.0, r'plain_smoothness=-1.0 must be'),
    ('servers', ((3, 2, 2),), r'has no random word'),
    ('sparsities', (0.999,), r'sparsity=0.999 keeps'),
    ('networks', (('alexnet', 0),), r"its 'alexnet' is not one of \['lenet'"),
    ('noise_multipliers', (-1.0,), r'entry -1\.0, which must be at least 0'),
    ('clients', (10_001,), r'a sum of 10001 images exceeds the 10000'),
  ],
)
def test_bad_setting_is_refused_before_anything_runs(
  tmp_path, name, value, message
):
  config = inversion_config()
  config.inversion[name] = value
  with pytest.raises(StudyError, match=message):
    job.run(config, tmp_path / 'run', [])
  assert not (tmp_path / 'run').exists()


def test_config_without_the_section_is_refused(tmp_path):
  with pytest.raises(StudyError, match=r"no section 'inversion'"):
    job.run(small.make_config(), tmp_path / 'run', [])
