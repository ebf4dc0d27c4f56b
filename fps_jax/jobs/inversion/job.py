"""The job `inversion`: gradient inversion of every view of an update."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from fps_jax import data
from fps_jax.config import defaults as configs
from fps_jax.config.checks import (
  above_zero,
  at_least_zero,
  choice,
  each,
  row,
  whole,
  within,
)
from fps_jax.config.section import Field, Section
from fps_jax.config.sections import JOB_SECTIONS
from fps_jax.config.sections.model import MAX_UNITS
from fps_jax.config.sections.sharing import SERVERS
from fps_jax.config.validate import validate
from fps_jax.core.environment import describe_environment
from fps_jax.jobs.bench import Bench, own_section
from fps_jax.jobs.inversion import report
from fps_jax.jobs.inversion.cases import Case, make_cases
from fps_jax.jobs.inversion.measure import InversionBench
from fps_jax.jobs.inversion.model import NETWORKS, FlatModel, make_model
from fps_jax.jobs.inversion.search import Search
from fps_jax.jobs.options import Options
from fps_jax.pruning import masks

_DEFAULTS = Options()

SECTION = JOB_SECTIONS['inversion'] = Section(
  'inversion',
  {
    'networks': Field(
      (),
      each(row('(network, steps)', choice(NETWORKS), whole(0))),
      'each attacked in a few views, after so many steps of honest training; '
      'none: the untrained perceptron in all views',
    ),
    'noise_multipliers': Field(
      (),
      each(at_least_zero),
      'standard deviations of the noise of a sum over the clip, each attacked '
      'instead of all views; none: all views',
    ),
    'images_per_client': Field(
      (1, 4), each(whole(1), least=1), 'all of them in every step'
    ),
    'width': Field(64, whole(1, MAX_UNITS), 'hidden units of the perceptron'),
    'local_steps': Field((4,), each(whole(1)), 'besides one'),
    'plain_smoothness': Field(
      1e-3,
      at_least_zero,
      "weight of the search's total variation where all is seen exactly; these "
      'weights were tuned under other seeds',
    ),
    'roundings': Field(
      ((14, 1e-3), (8, 0.03)),
      each(row('(value bits, weight)', whole(2, 16), at_least_zero), least=1),
      'sums have the first bits; shares, and all of it at once, the last',
    ),
    'servers': Field(
      ((5, 3, 1), (5, 4, 2)),
      each(SERVERS, least=1),
      '(N, k, l); sums are opened from the first',
    ),
    'clients': Field((2, 5, 10), each(whole(1)), 'whose updates are summed'),
    'sparsities': Field((0.5, 0.8, 0.95), each(within(0, 1, '[)'))),
    'sketches': Field(
      ((64, 0.1), (256, 0.01), (1024, 0.01)),
      each(row('(sums, weight)', whole(1), at_least_zero)),
      'sums that are seen, and the weight of the total variation',
    ),
    'joint_clients': Field(
      10,
      whole(1),
      'all of it at once: a sum over so many clients of a pruned model',
    ),
    'joint_sparsity': Field(0.9, within(0, 1, '[)')),
    'iterations': Field(400, whole(1)),
    'restarts': Field(2, whole(1)),
    'step_size': Field(0.1, above_zero, 'of the search, in grey values'),
  },
)


def default() -> ConfigDict:
  """Returns the default config, and what is attacked and how."""
  config = configs.default()
  config.name = 'inversion'
  config.job = 'inversion'
  config.seeds = (0, 1, 2, 3)  # of models, images and searches
  configs.add_section(config)
  return config


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options = _DEFAULTS,
) -> None:
  """Attacks every case and writes results, tables and figures.

  The files are `results.json`, `report.md`, `inversion_images.png`,
  `inversion_psnr.png`, `config.json` and `environment.json`.

  Args:
    config: see `default`.
    workdir: must not exist, or be empty.
    argv: see `fps_jax.jobs.run.Job`.
    options: without those of studies.

  Raises:
    StudyError: if the config is invalid, the data is missing or the work
      directory cannot be used.
  """
  job = Bench(workdir, options)
  with job.checking(config, 'inversion: '):
    bench, cases = _prepare(config, options)
  environment = describe_environment(argv)
  job.record(environment)
  outcomes = []
  for images_per_client, case in itertools.product(
    config.inversion.images_per_client, cases
  ):
    if case.method == 'divide' and images_per_client > 1:
      continue  # The quotient of sums is a blend.
    outcomes.append(bench.run(case, images_per_client))
    job.say(report.progress_line(outcomes[-1].row))
  rows = [outcome.row for outcome in outcomes]
  results = {
    'seeds': list(config.seeds),
    'environment': environment,
    'rows': rows,
  }
  report.write_images(outcomes, job.workdir / 'inversion_images.png')
  report.write_psnr(rows, job.workdir / 'inversion_psnr.png')
  last = {'workdir': str(job.workdir), 'cases': len(rows)}
  job.finish(results, report.blocks(rows), last)


def _prepare(
  config: ConfigDict, options: Options
) -> tuple[InversionBench, list[Case]]:
  """Returns what attacks, and the cases that it attacks.

  Raises:
    ValueError: if the config is invalid.
    OSError: if there is no data.
  """
  settings = own_section(config, 'inversion')
  validate(config)
  search = Search(settings.iterations, settings.restarts, settings.step_size)
  dataset = data.load(config.data.source, options.tfds_data_dir)
  cases = make_cases(config)
  models = {
    network: make_model(
      dataset.image_shape,
      dataset.num_classes,
      settings.width,
      config.pruning.exempt,
      network,
    )
    for network in dict.fromkeys(case.network for case in cases)
  }
  num_images = _check_sizes(config, cases, models, len(dataset.train_targets))
  bench = InversionBench(
    dataset,
    models,
    search,
    config.client.learning_rate,
    config.seeds,
    num_images,
  )
  return bench, cases


def _check_sizes(
  config: ConfigDict,
  cases: Sequence[Case],
  models: Mapping[str, FlatModel],
  num_train: int,
) -> int:
  """Returns how many images the clients of a case hold at most.

  Raises:
    ValueError: where the data or a model is too small for a case.
  """
  num_images = max(case.num_clients for case in cases) * max(
    config.inversion.images_per_client
  )
  is_trained = any(case.trained_steps for case in cases)
  if num_images + is_trained > num_train:
    raise ValueError(
      f'a sum of {num_images} images exceeds the {num_train} of '
      f'{config.data.source!r}: sum fewer clients'
    )
  for case in cases:
    if case.sparsity:
      exempt_D = models[case.network].exempt_D
      masks.keep_count(len(exempt_D), case.sparsity, int(exempt_D.sum()))
  return num_images
