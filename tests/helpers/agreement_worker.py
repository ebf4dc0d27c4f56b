"""One of two processes that differ; prints what each study says of that.

Usage: agreement_worker.py COORDINATOR PROCESS_ID FOLDER
"""

import dataclasses
import functools
import pathlib
import sys
from unittest import mock

import jax
import numpy as np

from fps_jax import data
from fps_jax.core import environment, over_jax
from fps_jax.core.interruption import Ending
from fps_jax.core.startup import Processes
from fps_jax.data.fake import make_fake
from fps_jax.jobs import run as jobs
from fps_jax.jobs.study import StudyError
from tests.helpers import small


def _config(**changes):
  return small.make_config(
    checkpoint__every_rounds=0,
    perf__num_devices=1,
    data__source='mine',
    **changes,
  )


def _load(is_other: bool, is_missing: bool) -> data.Dataset:
  if is_missing:
    raise FileNotFoundError('no data\nhere')
  dataset = make_fake(num_train=100)
  images = dataset.train_inputs.copy()
  images[-1, -1, -1] ^= is_other
  return dataclasses.replace(dataset, train_inputs=images)


def _configs(is_second: bool):
  """Returns the config of each case, as one of the processes has it."""
  configs = {
    'config': _config(**{'client.momentum': 0.5 * is_second}),
    'seeds': _config(seeds=(1, 2) if is_second else (0,)),
    'variants': _config(),
    'inversion': _config(job='inversion'),
  }
  if is_second:
    configs['variants'].variants.mine = {'num_rounds': 3}
  same = dict.fromkeys(('data', 'missing', 'used', 'version'), _config())
  return {**configs, **same}


def main(coordinator: str, process: str, folder: str) -> None:
  """Runs a study for each way to differ; none gets to its first round."""
  is_second = process == '1'
  # Not as many devices as the other one.
  jax.config.update('jax_num_cpu_devices', 2 if is_second else 1)
  peers = Processes(False, coordinator, 2, int(process)).join(Ending())
  assert peers
  print(
    'exchange',
    [len(text) for text in over_jax.exchange('é' * (3 + is_second))],
  )
  # What a sum of floats would change, and whatever the others hold.
  bits = np.array([-0.0, np.nan, 1e-45], np.float32)
  told = over_jax.of_first(np.ones_like(bits) if is_second else bits)
  print('first', told.tobytes() == bits.tobytes(), told.dtype)
  print('told', over_jax.text_of_first('ö' * 9 if is_second else 'né'))
  print('largest', peers.largest(7 if is_second else 3))
  for case, config in _configs(is_second).items():
    load = functools.partial(
      _load, is_second and case == 'data', is_second and case == 'missing'
    )
    version = 'another' if is_second and case == 'version' else 'one'
    workdir = pathlib.Path(folder) / process / case
    if case == 'used' and not is_second:
      workdir.mkdir()
      (workdir / 'file').touch()
    with (
      mock.patch.dict(data.SOURCES, mine=load),
      mock.patch.object(environment, 'package_version', return_value=version),
    ):
      try:
        jobs.run(config, workdir, [])
      except StudyError as error:
        print(case, error)
  peers.finish()


if __name__ == '__main__':
  main(*sys.argv[1:])
