"""The job `tradeoff`: accuracy, bytes, privacy and faults against each other.

Accuracy is that of a study whose variants are sparsities and value bits: how
values are shared does not change a bit of their sum. Each variant is then
combined with every sharing scheme and prime that its sums fit, and what sends
how many bytes is counted.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict
from rich.console import Console

from fps_jax import data
from fps_jax.config import defaults as configs
from fps_jax.config.checks import each
from fps_jax.config.section import Field, Section
from fps_jax.config.sections import JOB_SECTIONS
from fps_jax.config.sections.cohort import largest_sample_count
from fps_jax.config.sections.sharing import SERVERS, prime
from fps_jax.config.validate import validate_all
from fps_jax.config.variants import resolve_variants
from fps_jax.core import files
from fps_jax.jobs import study
from fps_jax.jobs.bench import own_section, refusing
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError
from fps_jax.jobs.tradeoff.results import TradeoffPoint, frontier
from fps_jax.results import smoke
from fps_jax.results import workdir as workdirs
from fps_jax.results.summary import collect
from fps_jax.results.tables import make_console
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.schemes import SCHEMES
from fps_jax.sharing.shamir import Shamir

_DEFAULTS = Options()


SECTION = JOB_SECTIONS['tradeoff'] = Section(
  'tradeoff',
  {
    'servers': Field(
      (
        (3, 2, 1),
        (5, 2, 1),
        (5, 3, 1),
        (5, 3, 2),
        (5, 4, 1),
        (5, 4, 2),
        (5, 4, 3),
        (5, 5, 1),
      ),
      each(SERVERS, least=1),
      '(N, k, l)',
    ),
    'primes': Field(
      (2**31 - 1, 4194301, 2**19 - 1, 65537), each(prime, least=1)
    ),
  },
)


def default() -> ConfigDict:
  """Returns the default config, and the schemes that are compared."""
  config = configs.default()
  config.name = 'tradeoff'
  config.job = 'tradeoff'
  configs.add_section(config)
  return config


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options = _DEFAULTS,
) -> None:
  """Runs the study and writes `tradeoff.json`, `.md` and a figure beside it.

  Args:
    config: of a study whose variants set `pruning.sparsity` and
      `sharing.value_bits`, with `tradeoff.servers`, (N, k, l) each, and
      `tradeoff.primes`. Shares are words of a model that all prune alike,
      without a defence, an audit of clients, tiers or second attempts.
    workdir: of no study, or of the same config.
    argv: see `fps_jax.jobs.run.Job`.
    options: likewise.

  Raises:
    StudyError: as `study.run_study`, and before anything runs if a scheme does
      not exist, or no sum fits any, or the bytes of a variant are others than
      are counted here; after the study if all variants diverged.
  """
  workdir, console = pathlib.Path(workdir), make_console()
  with refusing('tradeoff: '):
    variants = resolve_variants(config)
    validate_all(variants)
    for name, variant in variants.items():
      _check_is_counted(name, variant)
    schemes = _make_schemes(config)
    fitting = _fitting(variants, schemes, options)
  study.run_study(config, workdir, argv, options, console)
  num_unfit = len(variants) * len(schemes) - len(fitting)
  runs = collect(workdir, list(variants))
  diverged = [
    name for name in variants if any(run_.has_diverged for run_ in runs[name])
  ]
  points = [
    TradeoffPoint.of(variants[name], scheme, runs[name])
    for name, scheme in fitting
    if name not in diverged
  ]
  if not points:
    raise StudyError(
      f'tradeoff: training of every variant diverged, {diverged}: lower '
      'client.learning_rate'
    )
  _write(workdir, points, num_unfit, diverged, console)


def _write(
  workdir: pathlib.Path,
  points: Sequence[TradeoffPoint],
  num_unfit: int,
  diverged: Sequence[str],
  console: Console,
) -> None:
  """Writes all points and the frontier, and prints the latter."""
  best = frontier(points)
  results = {
    'num_choices': len(points),
    'num_whose_sums_do_not_fit': num_unfit,
    'diverged': diverged,
    'frontier': [dataclasses.asdict(point) for point in best],
    'choices': [dataclasses.asdict(point) for point in points],
  }
  # Matplotlib comes with it: not before the runs, which leave it the memory.
  from fps_jax.jobs.tradeoff import report

  notice = smoke.read(workdir)
  page = report.markdown(best, len(points), num_unfit, diverged)
  workdirs.write_json(workdir / 'tradeoff.json', results)
  files.write_text(workdir / 'tradeoff.md', smoke.above(notice, page))
  report.write_figure(points, best, workdir / 'tradeoff.png')
  console.print(report.table(best))
  if notice:
    console.print(notice)
  if diverged:
    console.print(report.left_out(diverged), markup=False)


def _check_is_counted(name: str, variant: ConfigDict) -> None:
  """Raises ValueError for what is not counted in a scheme's bytes."""
  pruning, sharing = variant.pruning, variant.sharing
  shared = tuple(name for name in SCHEMES if not SCHEMES[name].is_clear)
  for field, value, counted in (
    ('sharing.scheme', sharing.scheme, shared),
    ('sharing.reveal', sharing.reveal, ('sum',)),
    ('sharing.audit', sharing.audit, ('none', 'servers')),
    ('pruning.mask', pruning.mask, ('shared',)),
    ('pruning.tiers', pruning.tiers, ((1.0,),)),
    ('defence.name', variant.defence.name, ('none',)),
    ('faults.on_failed_round', variant.faults.on_failed_round, ('stop',)),
  ):
    if value not in counted:
      raise ValueError(
        f'variant {name!r} has {field}={value!r}, whose bytes are not counted: '
        f'use one of {counted}'
      )


def _make_schemes(config: ConfigDict) -> list[Shamir]:
  """Returns every (N, k, l) in every field.

  Raises:
    ValueError: if one does not exist, or the config has no section of them.
  """
  settings = own_section(config, 'tradeoff')
  fields = [PrimeField(prime) for prime in settings.primes]
  return [
    Shamir(field, servers, threshold, split, config.sharing.seeded)
    for servers, threshold, split in settings.servers
    for field in fields
  ]


def _fitting(
  variants: Mapping[str, ConfigDict],
  schemes: Sequence[Shamir],
  options: Options,
) -> list[tuple[str, Shamir]]:
  """Returns the names of variants with the schemes that their sums fit.

  Raises:
    ValueError: if there are none.
  """
  datasets = {
    source: data.load(source, options.tfds_data_dir)
    for source in {variant.data.source for variant in variants.values()}
  }
  fitting = []
  for name, variant in variants.items():
    # Of any seed.
    largest = max(
      largest_sample_count(variant, seed, datasets[variant.data.source])
      for seed in variant.seeds
    )
    fitting += [
      (name, scheme) for scheme in schemes if _fits(variant, scheme, largest)
    ]
  if not fitting:
    raise ValueError(
      'no sum of any variant fits any of tradeoff.primes: add a larger one, or '
      'lower sharing.value_bits or cohort.size'
    )
  return fitting


def _fits(variant: ConfigDict, scheme: Shamir, largest_count: int) -> bool:
  """Returns whether the sums of a cohort fit the field."""
  try:
    Codec(
      field=scheme.field,
      clip=variant.sharing.clip,
      value_bits=variant.sharing.value_bits,
      max_clients=variant.cohort.size,
      max_count=largest_count,
    )
  except ValueError:
    return False
  return True
