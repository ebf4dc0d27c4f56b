"""The job `privacy`: gradient inversion of every view of an update."""

import json
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict
from rich.console import Console

from fps_jax import data
from fps_jax.config import defaults as configs
from fps_jax.config import open_sections
from fps_jax.config.validate import validate
from fps_jax.core import files
from fps_jax.core.environment import describe_environment
from fps_jax.jobs.options import Options
from fps_jax.jobs.privacy import report
from fps_jax.jobs.privacy.cases import Case, make_cases
from fps_jax.jobs.privacy.inversion import Search
from fps_jax.jobs.privacy.measure import Laboratory
from fps_jax.jobs.privacy.model import FlatModel, make_model
from fps_jax.jobs.study import StudyError
from fps_jax.pruning import masks
from fps_jax.results import workdir as workdirs

_DEFAULTS = Options()


def default() -> ConfigDict:
  """Returns the default config, and what is attacked and how."""
  config = configs.default()
  config.name = 'privacy'
  config.job = 'privacy'
  config.seeds = (0, 1, 2, 3)  # of models, images and searches
  open_sections.add_section(
    config,
    'privacy',
    images_per_client=(1, 4),  # all of them in every step
    width=64,  # hidden units
    local_steps=(4,),  # besides one
    # Weights of the search's total variation were tuned under other seeds: what
    # is seen exactly, and (value bits, weight). Sums have the first bits;
    # shares, and all of it at once, the last.
    plain_smoothness=1e-3,
    roundings=((14, 1e-3), (8, 0.03)),
    # (N, k, l); sums are opened from the first.
    servers=((5, 3, 1), (5, 4, 2)),
    clients=(2, 5, 10),  # whose updates are summed
    sparsities=(0.5, 0.8, 0.95),
    # (sums that are seen, weight of the total variation)
    sketches=((64, 0.1), (256, 0.01), (1024, 0.01)),
    # All of it at once: a sum over some clients of a pruned model.
    joint_clients=10,
    joint_sparsity=0.9,
    iterations=400,
    restarts=2,
    step_size=0.1,  # of the search, in grey values
  )
  return config


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options = _DEFAULTS,
) -> None:
  """Attacks every case and writes results, tables and figures.

  The files are `results.json`, `report.md`, `privacy_images.png`,
  `privacy_psnr.png`, `config.json` and `environment.json`.

  Args:
    config: see `default`.
    workdir: created; must not exist, or be empty.
    argv: the command line, for the record.
    options: of the command line; must not have any of studies.

  Raises:
    StudyError: if the config is invalid, the data is missing or the work
      directory cannot be used.
  """
  workdir, console = pathlib.Path(workdir), Console()
  if options.of_studies:
    raise StudyError(f'{options.of_studies} are for studies: this job has none')
  try:
    if 'privacy' not in config:
      raise ValueError(
        "the config has no section 'privacy': begin with "
        'fps_jax.jobs.privacy.job.default()'
      )
    validate(config)
    settings = config.privacy
    search = Search(settings.iterations, settings.restarts, settings.step_size)
    dataset = data.load(config.data.source, options.tfds_data_dir)
    model = make_model(
      dataset.image_shape,
      dataset.num_classes,
      settings.width,
      config.pruning.exempt,
    )
    cases = make_cases(config)
    _check_sizes(config, cases, model, len(dataset.train_labels))
    workdirs.create(workdir)
    workdirs.write_json(workdir / 'config.json', json.loads(config.to_json()))
    environment = describe_environment(argv)
    workdirs.write_json(workdir / 'environment.json', environment)
  except (ValueError, TypeError, OSError) as error:
    raise StudyError(f'privacy: {error}') from error
  laboratory = Laboratory(
    dataset, model, search, config.client.learning_rate, config.seeds
  )
  outcomes = []
  for images_per_client in settings.images_per_client:
    for case in cases:
      if case.method == 'divide' and images_per_client > 1:
        continue  # The quotient of sums is a blend.
      outcomes.append(laboratory.run(case, images_per_client))
      console.print(report.progress_line(outcomes[-1].row), highlight=False)
  rows = [outcome.row for outcome in outcomes]
  results = {
    'seeds': list(config.seeds),
    'parameters': len(model.exempt_D),
    'environment': environment,
    'rows': rows,
  }
  workdirs.write_json(workdir / 'results.json', results)
  files.write_text(workdir / 'report.md', report.markdown(rows))
  report.write_images(outcomes, workdir / 'privacy_images.png')
  report.write_psnr(rows, workdir / 'privacy_psnr.png')
  for table in report.tables(rows):
    console.print(table)
  console.print(f'Results are in {workdir}', soft_wrap=True, highlight=False)
  print(json.dumps({'workdir': str(workdir), 'cases': len(rows)}))


def _check_sizes(
  config: ConfigDict, cases: Sequence[Case], model: FlatModel, num_train: int
) -> None:
  """Raises ValueError where the data or the model is too small for a case."""
  num_images = max(case.num_clients for case in cases) * max(
    config.privacy.images_per_client
  )
  if num_images > num_train:
    raise ValueError(
      f'a sum of {num_images} images exceeds the {num_train} of '
      f'{config.data.source!r}: sum fewer clients'
    )
  for case in cases:
    if case.sparsity:
      masks.keep_count(
        len(model.exempt_D), case.sparsity, int(model.exempt_D.sum())
      )
