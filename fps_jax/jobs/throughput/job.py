"""How fast rounds are: a job of launch.py.

A config's variants are its cases. Cases of one group run in one process, their
rounds in turn, so that they are compared under the same conditions; each group
has a process of its own, so that memory and compilation are its own. A config
without variants runs in this process.
"""

import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from ml_collections import ConfigDict

from fps_jax.config import checks
from fps_jax.config import defaults as configs
from fps_jax.config.checks import boolean, text, whole
from fps_jax.config.section import Field, Section
from fps_jax.config.sections import JOB_SECTIONS
from fps_jax.config.validate import validate_all
from fps_jax.config.variants import resolve_variants
from fps_jax.core import startup
from fps_jax.jobs.bench import Bench, refusing
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError
from fps_jax.jobs.throughput import report, worker

_MEMORY = ('peak_rss_mb', 'peak_device_mb')  # of all cases of a process
SECTION = JOB_SECTIONS['throughput'] = Section(
  'timing',
  {
    'rounds': Field(5, whole(1), 'after one that compiles'),
    'group': Field('', text, 'cases of one group run in turn, empty: no group'),
    'trace': Field(True, boolean, 'time phases, in one round more'),
    'examples': Field(
      600, whole(0), 'random ones a client; 0: config.data.source'
    ),
    'image_shape': Field(
      (28, 28, 1),
      checks.row('(height, width, channels)', *[whole(1)] * 3),
      'of random examples',
    ),
  },
)


def default() -> ConfigDict:
  """Returns the default config: FedAvg on random images, no case yet."""
  config = configs.default()
  config.name = 'throughput'
  config.job = 'throughput'
  config.data.partition = 'iid'
  config.pruning.schedule = 'none'
  config.sharing.scheme = 'none'
  configs.add_section(config)
  return config


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options,
) -> None:
  """Measures every case, and writes and prints tables and figures.

  Asked for JSON, the last line of output is an object of it: of a single case,
  its row; of several, what `results.json` holds.

  Args:
    config: see `default`.
    workdir: must not exist, or be empty.
    argv: see `fps_jax.jobs.run.Job`.
    options: without those of studies: phases are in the results.

  Raises:
    StudyError: if the config is invalid, the data is missing or the work
      directory cannot be used.
  """
  bench = Bench(
    workdir, options, 'this job times phases by itself (config.timing.trace)'
  )
  with bench.checking(config):
    variants = resolve_variants(config)
    validate_all(variants)
  with refusing():
    results = _measure_groups(variants, argv, options.tfds_data_dir, bench)
  bench.record(results['environment'])
  # Matplotlib comes with it: not before the runs, whose memory is measured.
  from fps_jax.jobs.throughput import figures

  rows = results['rows']
  figures.write_figures(rows, bench.workdir)
  bench.finish(
    results,
    report.tables(results),
    {'workload': config.name, **rows[0]} if len(rows) == 1 else None,
  )


def _measure_groups(
  variants: Mapping[str, ConfigDict],
  argv: Sequence[str],
  tfds_data_dir: str | None,
  bench: Bench,
) -> dict[str, Any]:
  """Returns the rows of all cases, and the first group's machine."""
  groups: dict[str, dict[str, dict[str, Any]]] = {}
  for name, variant in variants.items():
    # Rounds that are not run must be there to be planned.
    variant = variant.copy_and_resolve_references()
    variant.unlock()
    variant.num_rounds = variant.timing.rounds + 3
    group = variant.timing.group or name
    groups.setdefault(group, {})[name] = variant.to_dict()
  measure = worker.measure if len(groups) == 1 else _in_own_process
  rows, measured = [], []
  for number, group in enumerate(groups.values(), start=1):
    bench.say(f'{number} of {len(groups)}: measuring {", ".join(group)}')
    measured.append(measure(group, list(argv), tfds_data_dir))
    for row in measured[-1]['rows']:
      row |= {key: measured[-1][key] for key in _MEMORY}
      rows.append(row)
      bench.say(report.progress_line(row))
  return {
    'environment': measured[-1]['environment'],
    'machine': measured[0]['machine'],
    'rows': rows,
  }


def _in_own_process(*arguments: Any) -> dict[str, Any]:
  """Measures a group in a new process, which has the devices for itself."""
  context = multiprocessing.get_context('spawn')
  ours, theirs = context.Pipe(duplex=False)
  process = context.Process(target=_measure_and_send, args=(theirs, *arguments))
  # A terminal's Ctrl-C is for this process, with whose end the other ends.
  handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
  process.start()
  signal.signal(signal.SIGINT, handler)
  theirs.close()
  try:
    measured = ours.recv()
  except EOFError:
    measured = StudyError('the process that measures was killed')
  process.join()
  if isinstance(measured, Exception):
    raise measured
  return measured


def _measure_and_send(sender: Connection, *arguments: Any) -> None:
  threading.Thread(target=_end_with_parent, daemon=True).start()
  # As `launch.py` does.
  startup.share_heap()
  startup.spare_collector()
  startup.use_all_cores()
  try:
    sender.send(worker.measure(*arguments))
  except Exception as error:
    sender.send(error)


def _end_with_parent() -> None:
  parent = multiprocessing.parent_process()
  if parent is not None:
    parent.join()
    os._exit(1)
