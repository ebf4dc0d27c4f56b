"""The job `tradeoff`: accuracy, bytes, privacy and faults against each other.

Accuracy is that of a study whose variants are sparsities and value bits: how
values are shared does not change a bit of their sum. Each variant is then
combined with every sharing scheme and prime that its sums fit, and what sends
how many bytes is counted.
"""

import dataclasses
import itertools
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict
from rich.console import Console

from fps_jax import data
from fps_jax.config import defaults as configs
from fps_jax.config import open_sections
from fps_jax.config.build import largest_sample_count
from fps_jax.config.validate import validate
from fps_jax.config.variants import resolve_variants
from fps_jax.core import files
from fps_jax.jobs import agreement, study
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError
from fps_jax.results import workdir as workdirs
from fps_jax.results.summary import Run, collect, reduce
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.schemes import SCHEMES
from fps_jax.sharing.schemes.channels import Sent, ShareChannel
from fps_jax.sharing.shamir import Shamir

_DEFAULTS = Options()


@dataclasses.dataclass(frozen=True)
class Choice:
  """One way to run FedPruneShare, and what it gives and takes.

  Attributes:
    sparsity: fraction of parameters removed in the last round.
    value_bits: of a value.
    num_servers: N.
    threshold: k.
    secrets_per_polynomial: l.
    prime: of the field.
    test_accuracy: in [0, 1], of the last round, mean over seeds.
    test_accuracy_min: of the worst seed.
    test_accuracy_max: of the best seed.
    uplink_bytes: sent by a client in all rounds, mean over seeds.
    colluding_servers: t = k - l, whose shares say nothing of an update.
    missing_servers: N - k, that may fail to answer.
  """

  sparsity: float
  value_bits: int
  num_servers: int
  threshold: int
  secrets_per_polynomial: int
  prime: int
  test_accuracy: float
  test_accuracy_min: float
  test_accuracy_max: float
  uplink_bytes: float
  colluding_servers: int
  missing_servers: int

  def dominates(self, other: 'Choice') -> bool:
    """Whether this choice is as good in everything and better in something."""
    pairs = list(zip(self._merits(), other._merits(), strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

  def _merits(self) -> tuple[float, ...]:
    return (
      self.test_accuracy,
      -self.uplink_bytes,
      self.colluding_servers,
      self.missing_servers,
    )


def frontier(choices: Sequence[Choice]) -> list[Choice]:
  """Returns the choices that no other dominates, by rising uplink."""
  best = [c for c in choices if not any(o.dominates(c) for o in choices)]
  return sorted(best, key=lambda c: (c.uplink_bytes, -c.test_accuracy))


def default() -> ConfigDict:
  """Returns the default config, and the schemes that are compared."""
  config = configs.default()
  config.name = 'tradeoff'
  config.job = 'tradeoff'
  open_sections.add_section(
    config,
    'tradeoff',
    servers=(  # (N, k, l)
      (3, 2, 1),
      (5, 2, 1),
      (5, 3, 1),
      (5, 3, 2),
      (5, 4, 1),
      (5, 4, 2),
      (5, 4, 3),
      (5, 5, 1),
    ),
    primes=(2**31 - 1, 4194301, 2**19 - 1, 65537),
  )
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
    workdir: created if need be; empty, or of the same config.
    argv: the command line, for the record.
    options: of the command line.

  Raises:
    StudyError: as `study.run_study`, and before anything runs if a scheme does
      not exist, or no sum fits any, or the bytes of a variant are others than
      are counted here; after the study if all variants diverged.
  """
  workdir, console = pathlib.Path(workdir), Console()
  try:
    with agreement.together():
      variants = resolve_variants(config)
      for name, variant in variants.items():
        _check(name, variant)
      schemes = _make_schemes(config)
      fitting = _fitting(variants, schemes, options)
  except (ValueError, TypeError, OSError) as error:
    raise StudyError(f'tradeoff: {error}') from error
  study.run_study(config, workdir, argv, options, console)
  runs = collect(workdir, list(variants))
  diverged = [
    name for name in variants if any(run_.has_diverged for run_ in runs[name])
  ]
  choices = [
    _evaluate(variants[name], scheme, runs[name])
    for name, scheme in fitting
    if name not in diverged
  ]
  if not choices:
    raise StudyError(
      f'tradeoff: training of every variant diverged, {diverged}: lower '
      'client.learning_rate'
    )
  num_unfit = len(variants) * len(schemes) - len(fitting)
  best = frontier(choices)
  from fps_jax.jobs.tradeoff import report as tradeoff_report

  results = {
    'num_choices': len(choices),
    'num_whose_sums_do_not_fit': num_unfit,
    'diverged': diverged,
    'frontier': [dataclasses.asdict(choice) for choice in best],
    'choices': [dataclasses.asdict(choice) for choice in choices],
  }
  workdirs.write_json(workdir / 'tradeoff.json', results)
  page = tradeoff_report.markdown(best, len(choices), num_unfit, diverged)
  files.write_text(workdir / 'tradeoff.md', page)
  tradeoff_report.write_figure(choices, best, workdir / 'tradeoff.png')
  console.print(tradeoff_report.table(best))
  if diverged:
    console.print(tradeoff_report.left_out(diverged), markup=False)
  print(json.dumps({'workdir': str(workdir), 'frontier': len(best)}))


def _check(name: str, variant: ConfigDict) -> None:
  """Raises ValueError for what is wrong or not counted in a scheme's bytes."""
  try:
    validate(variant)
  except ValueError as error:
    raise ValueError(f'variant {name!r}: {error}') from error
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
  settings = config.get('tradeoff')
  if not settings:
    raise ValueError(
      "the config has no section 'tradeoff': begin with "
      'fps_jax.jobs.tradeoff.job.default()'
    )
  return [
    Shamir(
      PrimeField(prime), num_servers, threshold, split, config.sharing.seeded
    )
    for (num_servers, threshold, split), prime in itertools.product(
      settings.servers, settings.primes
    )
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
  labels = {
    variant.data.source: data.load(
      variant.data.source, options.tfds_data_dir
    ).train_labels
    for variant in variants.values()
  }
  fitting = []
  for name, variant in variants.items():
    # Of any seed.
    largest = max(
      largest_sample_count(variant, seed, labels[variant.data.source])
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


def _evaluate(
  variant: ConfigDict, scheme: Shamir, runs: Sequence[Run]
) -> Choice:
  accuracy = reduce(runs)['test_accuracy']
  assert accuracy is not None  # No run diverged, and each was evaluated.
  channel = ShareChannel(scheme)
  uplinks = [
    sum(
      channel.uplink_bytes(
        Sent(
          row['kept_parameters'],
          row['kept_parameters'],
          row['clients_reporting'],
        )
      )
      for row in run_.rows
    )
    for run_ in runs
  ]
  return Choice(
    sparsity=runs[0].rows[-1]['sparsity'],
    value_bits=variant.sharing.value_bits,
    num_servers=scheme.num_servers,
    threshold=scheme.threshold,
    secrets_per_polynomial=scheme.secrets_per_polynomial,
    prime=scheme.field.modulus,
    test_accuracy=accuracy.middle,
    test_accuracy_min=accuracy.least,
    test_accuracy_max=accuracy.most,
    uplink_bytes=statistics.fmean(uplinks),
    colluding_servers=scheme.num_random,
    missing_servers=scheme.num_servers - scheme.threshold,
  )
