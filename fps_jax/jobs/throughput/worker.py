"""Rounds of some configs, timed in turn in one process."""

import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fps_jax import data
from fps_jax.config.build import build
from fps_jax.config.sections.model import make_model
from fps_jax.core.devices import make_mesh
from fps_jax.core.environment import describe_environment
from fps_jax.core.host_memory import aligned_empty
from fps_jax.core.types import RoundPlan
from fps_jax.data.dataset import Dataset
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.jobs.throughput.machine import measure_peaks
from fps_jax.jobs.throughput.phases import measure_phases
from fps_jax.runs.chunk_size import naming_it
from fps_jax.runs.costs.flops import training_flops

_COMPILED = '/jax/core/compile/backend_compile_duration'
_NUM_TEST = 100  # of random data


def measure(
  configs: Mapping[str, Mapping[str, Any]],
  argv: Sequence[str],
  tfds_data_dir: str | None,
) -> dict[str, Any]:
  """Runs rounds of all configs, one of each in turn, and measures them.

  Nothing is taken from JAX's compilation cache.

  Args:
    configs: name to the resolved config of one variant, as plain dicts.
    argv: the command line, for the record.
    tfds_data_dir: see `fps_jax.data.load_tfds`.

  Returns:
    What `json.dumps` takes: `environment`, `rows` (see `_Run.results`), and
    `peak_rss_mb` (MiB) of this process before the rounds that are traced, and
    `peak_device_mb` of a device; None where that is the same memory.
  """
  jax.config.update('jax_enable_compilation_cache', False)
  runs = _build_all(configs, tfds_data_dir)
  for _ in range(1 + max(run.timing.rounds for run in runs)):
    for run in runs:
      run.do_round()
  accuracies = [run.evaluate() for run in runs]
  peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  device = jax.local_devices()[0].memory_stats() or {}
  peak_device = device.get('peak_bytes_in_use')
  peaks = measure_peaks(runs[0].simulation.mesh)
  rows = [
    run.results(accuracy, runs[0], peaks)
    for run, accuracy in zip(runs, accuracies, strict=True)
  ]
  return {
    'environment': describe_environment(argv),
    'rows': rows,
    'peak_rss_mb': round(peak_rss),
    'peak_device_mb': peak_device and round(peak_device / 2**20),
    'machine': peaks,
  }


class _Run:
  """One config, round after round."""

  def __init__(self, name: str, config: ConfigDict, placed: PlacedDataset):
    self.name = name
    self.timing = config.timing
    self._config = config
    self._dataset = placed.dataset
    self.simulation = build(config, config.seeds[0], placed)
    self._data = self.simulation.put_data()
    self._state = jax.block_until_ready(self.simulation.init_state())
    self._plan: RoundPlan | None = None
    self._seconds: list[float] = []
    self._compile_seconds = 0.0
    self._trained = 0.0

  def do_round(self) -> None:
    """Runs a round as a study does, and waits for it."""

    def on_duration(event: str, duration_secs: float, **_: Any) -> None:
      if event == _COMPILED:
        self._compile_seconds += duration_secs

    jax.monitoring.register_event_duration_secs_listener(on_duration)
    start = time.perf_counter()
    number, simulation = len(self._seconds), self.simulation
    plan = self._plan or simulation.plan(number)
    with naming_it(simulation):
      if not number:
        simulation.compile(self._state, plan, self._data)
      collected = simulation.start(self._state, plan, self._data)
      # The host plans while devices train.
      self._plan = simulation.plan(number + 1)
      self._state, metrics, _ = simulation.finish(
        self._state, plan, self._data, collected
      )
      jax.block_until_ready((self._state, metrics))
    self._seconds.append(time.perf_counter() - start)
    jax.monitoring.unregister_event_duration_listener(on_duration)
    present = plan.cohort.client_ids >= 0
    self._trained = float(np.asarray(metrics.num_trained)[present].sum())

  def evaluate(self) -> float:
    """Returns the test accuracy after the rounds so far."""
    tested = self.simulation.evaluation.test(self._state.params)
    assert tested.num_right is not None  # The job sets the loss.
    return int(tested.num_right) / self.simulation.evaluation.num_test

  def results(
    self, accuracy: float, first: '_Run', peaks: Mapping[str, float]
  ) -> dict[str, Any]:
    """Returns what was measured; runs another round, for its trace.

    Args:
      accuracy: on the test set, after the timed rounds.
      first: the run that others of the process are compared with.
      peaks: of the machine.
    """
    config, timed = self._config, self._seconds[1:]
    performance = self.simulation.round.method.performance
    seconds = statistics.median(timed)
    model = make_model(config, self._dataset.num_classes)
    flops = self._trained * training_flops(
      model, self._dataset, config.client.batch_size
    )
    num_params = self.simulation.accounts.num_params
    plan = self.simulation.pruning_plans[len(self._seconds) - 1]
    num_kept = int(plan.keep_count)
    row = {
      'name': self.name,
      'model': config.model.name,
      'num_params': num_params,
      'cohort': config.cohort.size,
      'batch_size': config.client.batch_size,
      'execution': 'vmap' if performance.vmaps else 'sequential',
      'chunk_size': performance.clients_per_chunk,
      'sparsity': 1 - int(plan.received_counts[-1]) / num_params,
      'sharing': config.sharing.scheme,
      'sec_per_round': seconds,
      'min': min(timed),
      'max': max(timed),
      'first_round': self._seconds[0],
      'compile_seconds': self._compile_seconds,
      'rounds': len(timed),
      'over_first_case': statistics.median(
        own / other
        for own, other in zip(timed, first._seconds[1:], strict=True)
      ),
      'clients_per_second': config.cohort.size / seconds,
      'examples_per_second': self._trained / seconds,
      'test_accuracy_after': accuracy,
      'training_of_matmul_peak': flops
      / seconds
      / (peaks['matmul_gigaflops'] * 1e9),
    }
    if self.timing.trace:
      row['phases'] = measure_phases(
        self.simulation,
        self._state,
        self._plan or self.simulation.plan(0),
        self._data,
      )
      row['protocol_bytes'] = self._protocol_bytes(num_kept)
    return row

  def _protocol_bytes(self, num_kept: int) -> int:
    """Returns what a round moves at least, from values to sums.

    Every value is read once, and for every chunk of clients every sum is read
    and written.
    """
    cohort, num_devices = self._config.cohort.size, self.simulation.mesh.size
    chunk_size = self.simulation.round.method.performance.clients_per_chunk
    num_rows = self.simulation.protocol.zeros(16).shape[0]
    per_device = -(-cohort // num_devices)
    num_chunks = num_devices * -(-per_device // chunk_size)
    return 4 * num_kept * (cohort + 2 * num_rows * num_chunks)


def _build_all(
  configs: Mapping[str, Mapping[str, Any]], tfds_data_dir: str | None
) -> list[_Run]:
  placed: dict[Any, PlacedDataset] = {}
  runs = []
  for name, fields in configs.items():
    config = ConfigDict(fields)
    use = (config.data.source, config.perf.num_devices, config.timing.examples)
    if use not in placed:
      placed[use] = PlacedDataset(
        _load(config, tfds_data_dir), make_mesh(config.perf.num_devices)
      )
    runs.append(_Run(name, config, placed[use]))
  return runs


def _load(config: ConfigDict, tfds_data_dir: str | None) -> Dataset:
  """Loads a config's data set, or makes random images of MNIST's shape."""
  if not config.timing.examples:
    return data.load(config.data.source, tfds_data_dir)
  rng = np.random.default_rng(0)
  shape = config.timing.image_shape

  def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
    # Where devices share them, and never twice in memory: that is measured.
    images = aligned_empty((count, *shape), np.uint8)
    for image in images:
      image[...] = rng.integers(256, size=shape, dtype=np.uint8)
    return images, rng.integers(10, size=count, dtype=np.int32)

  num_train = config.timing.examples * config.data.num_clients
  return Dataset('random', *draw(num_train), *draw(_NUM_TEST), num_classes=10)
