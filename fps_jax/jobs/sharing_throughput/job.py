"""How fast vectors are shared, summed, checked and opened: a job of launch.py.

Every figure stands beside a NumPy copy measured right before it in the same
process, because the operations are bound by memory, and beside the package
`galois` where that is installed (extra `peers`).
"""

import itertools
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from fps_jax.config import known
from fps_jax.core.environment import describe_environment
from fps_jax.jobs.bench import Bench
from fps_jax.jobs.options import Options
from fps_jax.jobs.sharing_throughput import cases, galois_peer, report
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir


def default() -> ConfigDict:
  """Returns the default config of the benchmark."""
  config = ConfigDict()
  config.name = 'sharing_throughput'
  config.job = 'sharing_throughput'
  config.smoke_test = False
  config.seed = 0  # of the words that are shared
  # (N, k, l, prime): servers, threshold, secrets per polynomial.
  config.cases = (
    (5, 3, 1, 2**31 - 1),
    (3, 2, 1, 2**31 - 1),
    (5, 4, 2, 2**31 - 1),
    (7, 5, 2, 2**31 - 1),
    (10, 8, 4, 2**31 - 1),
    (5, 4, 2, 2**22 - 3),
    (5, 4, 2, 2**19 - 1),
  )
  config.log2_words = (18, 19, 20, 22)  # lengths of a share
  config.num_clients = 100  # whose shares are summed
  config.max_sum_words = 2**27  # fewer clients where their shares exceed this
  config.repeats = 15  # of which the median is taken
  return config.lock()


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options,
) -> None:
  """Measures every case, and writes and prints tables, and a figure.

  Args:
    config: see `default`.
    workdir: must not exist, or be empty.
    argv: see `fps_jax.jobs.run.Job`.
    options: without those of studies.

  Raises:
    StudyError: if the config is invalid or the work directory cannot be used.
  """
  bench = Bench(workdir, options)
  with bench.checking(config):
    schemes = validate(config)
  bench.record(describe_environment(argv))
  rng = np.random.default_rng(config.seed)
  rows = []
  for scheme, log2 in itertools.product(schemes, config.log2_words):
    num_words = 2**log2
    most = max(1, config.max_sum_words // num_words)
    num_clients = min(config.num_clients, most)
    rows.append(
      cases.measure_case(scheme, num_words, num_clients, config.repeats, rng)
    )
    bench.say(report.progress_line(rows[-1]))
  results = {
    'platform': jax.default_backend(),
    'cipher': cases.measure_cipher(config.repeats),
    'galois_version': galois_peer.version(),
    'rows': rows,
    'uplink_bytes': report.uplink_bytes(),
  }
  report.write_figure(rows, bench.workdir / 'throughput.png')
  bench.finish(results, report.tables(results))


def validate(config: ConfigDict) -> list[Shamir]:
  """Returns the schemes of a config's cases.

  Raises:
    ValueError: naming a field, its value and the bound.
  """
  owner = "a config of job='sharing_throughput'"
  problems = [line for _, line in known.unknown(config, default(), owner)]
  if problems:
    raise ValueError('\n'.join(problems))
  for name in ('num_clients', 'max_sum_words', 'repeats'):
    if config[name] < 1:
      raise ValueError(f'{name}={config[name]} must be at least 1')
  if not config.cases:
    raise ValueError('cases=() must hold at least one (N, k, l, prime)')
  if not config.log2_words:
    raise ValueError('log2_words=() must hold at least one number')
  for log2 in config.log2_words:
    if not 4 <= log2 <= 26:
      raise ValueError(f'log2_words={log2} must be in [4, 26]')
  for case in config.cases:
    if len(case) != 4:
      raise ValueError(f'case {case} must be (N, k, l, prime)')
  return [Shamir(PrimeField(prime), *sizes) for *sizes, prime in config.cases]
