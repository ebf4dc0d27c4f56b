"""What a run takes of devices that need not be there: --compile_for.

Every program of every variant is compiled, under its first seed, for these
devices. Nothing runs.
"""

import pathlib
from collections.abc import Sequence

from absl import logging
from ml_collections import ConfigDict

from fps_jax import data
from fps_jax.config.build import build
from fps_jax.config.validate import validate_all
from fps_jax.config.variants import resolve_variants
from fps_jax.core import files
from fps_jax.core.devices import make_mesh
from fps_jax.core.environment import describe_environment, user_code
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.jobs.bench import Bench, refusing
from fps_jax.jobs.compile_for import report, target
from fps_jax.jobs.compile_for.measure import measure
from fps_jax.jobs.options import Options


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options,
) -> None:
  """Compiles every variant of a study; writes and prints what it takes.

  Asked for JSON, the last line of output is an object of it: what
  `results.json` holds.

  Args:
    config: of a study.
    workdir: must not exist, or be empty.
    argv: see `fps_jax.jobs.run.Job`.
    options: with `compile_for`.

  Raises:
    StudyError: if the config is invalid, the data is missing, the work
      directory cannot be used, or the devices or their compiler are unknown.
  """
  with refusing():
    workdir = files.local(workdir, '--workdir')
    wanted = target.parse(options.compile_for or '')
    devices = wanted.devices()
  bench = Bench(workdir, options, '--compile_for runs nothing')
  with bench.checking(config):
    variants = resolve_variants(config)
    validate_all(variants)
  rows, datasets = [], {}
  for name, variant in variants.items():
    with refusing(f'{name}: '):
      source = variant.data.source
      if source not in datasets:
        datasets[source] = data.load(source, options.tfds_data_dir)
      mesh = make_mesh(variant.perf.num_devices, devices)
      placed = PlacedDataset(datasets[source], mesh)
      bench.say(f'compiling {name} for {wanted.name}')
      simulation = build(variant, variant.seeds[0], placed)
    row = measure(name, variant, datasets[source], simulation, wanted)
    if row['host_callbacks']:
      logging.warning(
        '%s: calls the host from devices: %s', name, row['callbacks']
      )
    rows.append(row)
  bench.record(describe_environment(argv, user_code(options.config_file)))
  results = {**report.summary(rows), 'variants': rows}
  bench.finish(results, report.tables(rows, wanted.platform))
