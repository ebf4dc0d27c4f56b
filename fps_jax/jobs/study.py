"""A study: every variant of a config under every seed, then the report."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict
from rich.console import Console

from fps_jax import data
from fps_jax.config.build import build
from fps_jax.config.validate import validate_all
from fps_jax.config.variants import check_alike, resolve_variants
from fps_jax.core import files
from fps_jax.core.accelerators import usable_bytes
from fps_jax.core.devices import make_mesh
from fps_jax.core.over_jax import text_of_first
from fps_jax.core.types import RoundState
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.jobs import agreement, cluster, notices, notices_privacy
from fps_jax.jobs.keeping import Following, Keeper, OnDisk
from fps_jax.jobs.options import Options
from fps_jax.jobs.study_run import StudyRun
from fps_jax.results.metrics import MetricsRow
from fps_jax.results.metrics_file import has_diverged, has_ended
from fps_jax.results.tables import make_console
from fps_jax.results.titles import title_of
from fps_jax.runs.checkpoints import BestModel, CheckpointError
from fps_jax.runs.chunk_size import naming_it
from fps_jax.runs.hooks import ON_ROUND, HookError, Hooks
from fps_jax.runs.progress import Progress
from fps_jax.runs.simulation import Simulation
from fps_jax.runs.train import Extras, Trained, train

Deploy = Callable[[StudyRun], Simulation]

_DEFAULTS = Options()
# What ends a study, with a message for the user.
_STOPS = (ValueError, OSError, FloatingPointError, CheckpointError, HookError)


class StudyError(Exception):
  """A study cannot run or go on; the message says why and what to do."""


class Result(NamedTuple):
  """What a run came to.

  Attributes:
    name: of its variant.
    seed: of the run.
    variant: the variant's config.
    simulation: of the run.
    rows: of all its rounds.
    state: after the last one; None where that had been run before, and where
      states are not kept.
    best: the best model in validation; None where there is no state, and
      without `checkpoint.keep_best`.
    warnings: about its settings, and about what it lost on its way.
  """

  name: str
  seed: int
  variant: ConfigDict
  simulation: Simulation
  rows: list[MetricsRow]
  state: RoundState | None
  best: BestModel | None
  warnings: list[str]


def run_study(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options = _DEFAULTS,
  console: Console | None = None,
  keeps_states: bool = False,
  deploy: Deploy | None = None,
) -> list[Result]:
  """Runs a study and writes everything about it to the work directory.

  In the work directory of the same config, finished runs are not run again and
  the one that was killed goes on from its last checkpoint. The files are those
  of `fps_jax.jobs.keeping.OnDisk`. Of several processes, process 0 alone reads
  and writes them.

  Args:
    config: see `fps_jax.config.defaults.default`.
    workdir: created if need be; empty, or of the same config.
    argv: the command line, for the record.
    options: of the command line.
    console: where progress and the table go; by default standard output.
    keeps_states: as of `run`.
    deploy: as of `run`.

  Returns:
    As `run`.

  Raises:
    StudyError: as `run`, and if the work directory is of another study, of one
      whose code has changed, or cannot be written, or a checkpoint is damaged.
    StoppedError: if `options.interruption` asked it to stop.
  """
  console = console or make_console()
  try:
    workdir = files.local(workdir, '--workdir')
    with files.naming(workdir):
      keeper = _make_keeper(workdir, argv, options)
      results = run(config, keeper, options, console, keeps_states, deploy)
  except _STOPS as error:
    raise StudyError(str(error)) from error
  # Where there is none, another process reports.
  if keeper.table is not None:
    console.print(keeper.table)
    console.print(f'Results are in {workdir}', soft_wrap=True, highlight=False)
  return results


def _make_keeper(
  workdir: pathlib.Path, argv: Sequence[str], options: Options
) -> OnDisk | Following:
  """Returns what keeps a study of the command line, or one run of it."""
  if jax.process_index():
    return Following(options)
  if options.only_run:
    return cluster.OneRun(workdir, argv, options)
  kind = cluster.OnCluster if options.cluster else OnDisk
  return kind(workdir, argv, options)


def run(
  config: ConfigDict,
  keeper: Keeper,
  options: Options = _DEFAULTS,
  console: Console | None = None,
  keeps_states: bool = True,
  deploy: Deploy | None = None,
) -> list[Result]:
  """Runs a study, and returns what every run came to.

  Everything is checked, and every run is built, before the first one starts;
  several processes compare configs, versions and data, and none starts alone.

  Args:
    config: see `fps_jax.config.defaults.default`.
    keeper: where the study is kept, and what there is of it.
    options: what is not part of the experiment.
    console: where progress goes; by default standard output.
    keeps_states: whether the last state of every run stays on the devices.
    deploy: makes of a run one of real parties; None to simulate them.

  Returns:
    What each run came to, those of a variant by the seeds of the config.

  Raises:
    StudyError: if the config is invalid, variants differ in a field of
      `STUDY_FIELDS`, the data is missing, training diverges and is to stop the
      study, or processes differ.
    StoppedError: if `options.interruption` asked it to stop.
  """
  try:
    with contextlib.ExitStack() as stack:
      with agreement.together() as facts:
        variants = _check_all(config)
        keeper.check(variants)
        environment = stack.enter_context(keeper.hold(config, variants))
        placed = _load_all(variants, options.tfds_data_dir)
        if jax.process_count() > 1:
          facts |= agreement.describe(config, environment)
          # By it they choose their programs.
          facts['device_memory'] = {
            name: usable_bytes(each.mesh) for (name, _), each in placed.items()
          }
          facts['data'] = {
            name: agreement.digest_of_data(each.dataset)
            for (name, _), each in placed.items()
          }
      runs = _build_all(variants, placed, deploy)
      console = console or make_console()
      environment['chunk_sizes'] = _chunk_sizes(runs, console)
      notices_privacy.print_promises(runs, console)
      notices.print_shorter_words(runs, console)
      said = _find_notices(variants, runs)
      keeper.begin(runs, _warn(said))
      results = _run_all(runs, said, keeper, options, console, keeps_states)
      keeper.finish(list(variants))
      return results
  except _STOPS as error:
    raise StudyError(str(error)) from error


def _check_all(config: ConfigDict) -> dict[str, ConfigDict]:
  """Returns the variants of a study that can run, as far as configs tell."""
  variants = resolve_variants(config)
  check_alike(config, variants)
  validate_all(variants)
  return variants


def _load_all(
  variants: Mapping[str, ConfigDict], tfds_data_dir: str | None
) -> dict[tuple[str, int], PlacedDataset]:
  """Loads every data set once for each number of devices that is asked for."""
  placed = {}
  for variant in variants.values():
    source, num_devices = use = _use(variant)
    if use not in placed:
      # Of several processes each reads what its own clients have.
      dataset = data.load(
        source, tfds_data_dir, on_demand=jax.process_count() > 1
      )
      placed[use] = PlacedDataset(dataset, make_mesh(num_devices))
  return placed


def _use(variant: ConfigDict) -> tuple[str, int]:
  return variant.data.source, variant.perf.num_devices


def _build_all(
  variants: Mapping[str, ConfigDict],
  placed: Mapping[tuple[str, int], PlacedDataset],
  deploy: Deploy | None,
) -> list[StudyRun]:
  """Builds every run; variants of one data set share it."""
  runs = [
    StudyRun(name, seed, variant, build(variant, seed, placed[_use(variant)]))
    for name, variant in variants.items()
    for seed in variant.seeds
  ]
  return (
    [run._replace(simulation=deploy(run)) for run in runs] if deploy else runs
  )


def _chunk_sizes(runs: Sequence[StudyRun], console: Console) -> dict[str, int]:
  """Returns how many clients each run trains before it adds them up.

  What the devices' memory decided, it prints.
  """
  sizes = {}
  for run in runs:
    performance = run.simulation.round.method.performance
    size = sizes[str(run.folder)] = performance.clients_per_chunk
    if performance.chunk_size != run.variant.perf.chunk_size:
      console.print(
        f'{run.title}: chunks of {size:,} clients, for which the devices have '
        'memory (perf.chunk_size=0)',
        highlight=False,
      )
  return sizes


def _find_notices(
  variants: Mapping[str, ConfigDict], runs: Sequence[StudyRun]
) -> dict[str, list[str]]:
  """Returns what the settings of each variant come to."""
  return {
    name: list(
      notices.before_run(
        variant, [run.simulation for run in runs if run.name == name]
      )
    )
    for name, variant in variants.items()
  }


def _warn(said: Mapping[str, Sequence[str]]) -> list[str]:
  """Logs what settings come to, and returns it."""
  lines = notices.gather({title_of(name): said[name] for name in said})
  for line in lines:
    logging.warning('%s', line)
  return lines


def _run_all(
  runs: Sequence[StudyRun],
  said: Mapping[str, Sequence[str]],
  keeper: Keeper,
  options: Options,
  console: Console,
  keeps_states: bool,
) -> list[Result]:
  """Runs what has not run."""
  profile, results = keeper.profile, []
  with Progress(console) as progress:
    for each in runs:
      rows, trained = _run(each, keeper, progress, profile, options)
      profile = None  # The first run is enough.
      lines = [*notices.after_run(rows, _emptied(each.simulation, trained))]
      if has_diverged(rows) and each.variant.on_divergence != 'stop':
        lines.append(
          f'{_divergence(each, rows)}; the run ends, and is in no mean'
        )
      for line in lines:
        logging.warning('%s: %s', each.title, line)
      if has_diverged(rows) and each.variant.on_divergence == 'stop':
        raise FloatingPointError(
          f'{each.title}: {_divergence(each, rows)}, or set '
          "on_divergence='end_run'"
        )
      kept = trained if keeps_states else None
      results.append(
        Result(
          *each,
          rows=rows,
          state=kept and kept.state,
          best=kept and kept.best,
          warnings=[*said[each.name], *lines],
        )
      )
      if options.interruption:
        options.interruption.settle()
  return results


def _divergence(run: StudyRun, rows: Sequence[MetricsRow]) -> str:
  return notices.divergence(rows[-1], run.variant.num_rounds)


def _run(
  run: StudyRun,
  keeper: Keeper,
  progress: Progress,
  profile: pathlib.Path | None,
  options: Options,
) -> tuple[list[MetricsRow], Trained | None]:
  """Runs the rounds of a run that are left.

  Returns:
    The rows of all its rounds, and what it came to if any was left.
  """
  variant, trained = run.variant, None
  with keeper.open(run) as kept:
    # Process 0 may know of some that ran before.
    rows: list[MetricsRow] = json.loads(text_of_first(json.dumps(kept.rows)))
    progress.start_run(title_of(run.name), run.seed, variant.num_rounds, rows)

    def on_row(row: MetricsRow) -> None:
      kept.write(row)
      progress.update(row)
      rows.append(row)

    if len(rows) < variant.num_rounds and not has_ended(rows):
      extras = Extras(
        profile,
        options.interruption,
        variant.checkpoint.keep_best,
        _hooks(run, rows, options),
      )
      with naming_it(run.simulation):
        trained = train(
          run.simulation,
          variant.num_rounds,
          variant.eval.every_rounds,
          on_row,
          kept.checkpoints,
          extras,
        )
  progress.finish_run()
  return rows, trained


def _hooks(
  run: StudyRun, rows: Sequence[MetricsRow], options: Options
) -> Hooks | None:
  """Returns what is called after each round, in process 0; None for nothing."""
  hooks = {name: ON_ROUND[name] for name in run.variant.eval.on_round}
  if options.on_round is not None:
    hook = options.on_round
    name = getattr(hook, '__name__', type(hook).__name__)
    # One of the config's may be called so, too.
    hooks[name if name not in hooks else f'{name}, given as on_round'] = hook
  if not hooks or jax.process_index():
    return None
  unravel = run.simulation.accounts.model.unravel
  return Hooks(hooks, run.name, run.seed, unravel, rows)


def _emptied(simulation: Simulation, trained: Trained | None) -> list[str]:
  """Returns the layers that pruning emptied, of a run that ran."""
  if trained is None:
    return []
  params = jax.device_get(trained.state.params)
  return simulation.accounts.emptied_layers(params)
