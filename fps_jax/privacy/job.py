"""The job `privacy`: gradient inversion of every view of an update."""

import json
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict
from rich.console import Console

from fps_jax import data, files
from fps_jax import workdir as workdirs
from fps_jax.environment import describe_environment
from fps_jax.options import Options
from fps_jax.privacy import report
from fps_jax.privacy.cases import Case, make_cases
from fps_jax.privacy.inversion import Search
from fps_jax.privacy.measure import Laboratory
from fps_jax.privacy.model import FlatModel, make_model
from fps_jax.pruning import masks
from fps_jax.study import StudyError
from fps_jax.validate import validate

_DEFAULTS = Options()
# (field of config.privacy, the least that its numbers may be)
_LEAST = (
  ('images_per_client', 1),
  ('local_steps', 1),
  ('clients', 1),
  ('sparsities', 0),
)
_NOT_EMPTY = ('images_per_client', 'roundings', 'servers')


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
    config: see `experiments/privacy.py`.
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
    _check(config)
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


def _check(config: ConfigDict) -> None:
  """Raises ValueError for what is wrong in `config.privacy` by itself."""
  if 'privacy' not in config:
    raise ValueError(
      "the config has no section 'privacy': see experiments/privacy.py"
    )
  settings = config.privacy
  for name in _NOT_EMPTY:
    if not settings[name]:
      raise ValueError(f'{name}=() must hold at least one entry')
  for name, least in _LEAST:
    if any(number < least for number in settings[name]):
      raise ValueError(f'{name}={settings[name]} must be at least {least} each')
  for name in ('width', 'joint_clients'):
    if settings[name] < 1:
      raise ValueError(f'{name}={settings[name]} must be at least 1')
  for name in ('roundings', 'sketches'):
    if any(rows < 1 or not weight >= 0 for rows, weight in settings[name]):
      raise ValueError(
        f'{name}={settings[name]} must be pairs of a number of at least 1 and '
        'a weight of at least 0'
      )
  if not settings.plain_smoothness >= 0:
    raise ValueError(
      f'plain_smoothness={settings.plain_smoothness} must be at least 0'
    )


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
