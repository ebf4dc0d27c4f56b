"""Checkpoints: what is restored is what was saved, or nothing is."""

import dataclasses
import functools
import gc
import resource

import jax
import numpy as np
import pytest

from fps_jax.runs.checkpoints import CheckpointError, Checkpoints, read
from fps_jax.runs.train import train
from tests.helpers import small


# The threads of orbax and TensorStore leave errors behind, too.
def forgives_threads(test):
  @functools.wraps(test)
  def collecting(*arguments, **named):
    test(*arguments, **named)
    gc.collect()

  for kind in ('UnraisableException', 'UnhandledThreadException'):
    mark = f'ignore::pytest.Pytest{kind}Warning'
    collecting = pytest.mark.filterwarnings(mark)(collecting)
  return collecting


@pytest.fixture(scope='module')
def simulation():
  config = small.make_config(server__optimizer='adam', pruning__server='dense')
  yield small.make(config)


def _open(folder, **settings):
  return Checkpoints(folder, **{'every_rounds': 1, 'keep': 2, **settings})


def _run(simulation, folder, rows=None, stop_at=None, **settings):
  """Runs three rounds; dies when the row of round `stop_at` is handed on."""

  def on_row(row):
    if rows is not None:
      rows.append({**row, 'round_seconds': 0.0})
    if row['round'] == stop_at:
      raise KeyboardInterrupt

  with _open(folder, **settings) as checkpoints:
    return train(simulation, 3, 1, on_row, checkpoints).state


def _assert_equal(state, other):
  for leaf, of_other in zip(
    jax.tree.leaves(state), jax.tree.leaves(other), strict=True
  ):
    np.testing.assert_array_equal(leaf, of_other)
    assert leaf.dtype == of_other.dtype


@pytest.mark.slow
@pytest.mark.parametrize('every_rounds', [1, 2, 5])
@pytest.mark.parametrize('stop_at', [1, 2, 3])
def test_run_that_goes_on_from_a_checkpoint_ends_with_the_same_model(
  simulation, tmp_path, every_rounds, stop_at
):
  expected_rows, rows = [], []
  expected = _run(simulation, tmp_path / 'whole', expected_rows)
  settings = {'every_rounds': every_rounds}
  with pytest.raises(KeyboardInterrupt):
    _run(simulation, tmp_path / 'run', rows, stop_at, **settings)
  with _open(tmp_path / 'run') as checkpoints:
    done = checkpoints.last_round
  # The row is handed on before the checkpoint is begun.
  assert done == (stop_at - 1) // every_rounds * every_rounds
  del rows[done:]
  state = _run(simulation, tmp_path / 'run', rows, **settings)
  _assert_equal(state, expected)
  assert rows == expected_rows


@pytest.mark.slow
def test_finished_run_is_not_run_again(simulation, tmp_path):
  expected, rows = _run(simulation, tmp_path), []
  _assert_equal(_run(simulation, tmp_path, rows), expected)
  assert not rows


@pytest.mark.slow
@forgives_threads
def test_restore_returns_what_was_saved_or_raises(simulation, tmp_path):
  expected = _run(simulation, tmp_path)
  noticed = 0
  last = (tmp_path / '3').rglob('*')
  for path in [path for path in last if path.is_file()]:
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], _flip(content), None):
      if damaged is None:
        path.unlink()
      else:
        path.write_bytes(damaged)
      try:
        with _open(tmp_path, keep=3) as checkpoints:
          if checkpoints.last_round == 3:
            _assert_equal(
              checkpoints.restore(simulation.init_state()), expected
            )
      except CheckpointError as error:
        noticed += 1
        assert str(tmp_path / '3') in str(error)
      path.write_bytes(content)
  # Of the files, one has the arrays and one their digest.
  assert noticed >= 6


def _flip(content):
  middle = len(content) // 2
  flipped = bytes(byte ^ 0xFF for byte in content[middle : middle + 1])
  return content[:middle] + flipped + content[middle + 1 :]


@pytest.mark.slow
def test_checkpoint_not_written_to_its_end_is_as_if_not_begun(
  simulation, tmp_path
):
  with pytest.raises(KeyboardInterrupt):
    _run(simulation, tmp_path, stop_at=3)
  with _open(tmp_path) as checkpoints:
    last = checkpoints.last_round
  begun = tmp_path / f'{last + 1}.orbax-checkpoint-tmp'
  begun.mkdir()
  (begun / 'state').mkdir()
  with _open(tmp_path) as checkpoints:
    assert checkpoints.last_round == last == 2


@pytest.mark.slow
def test_only_the_last_checkpoints_are_kept(simulation, tmp_path):
  _run(simulation, tmp_path, keep=1)
  assert [path.name for path in tmp_path.iterdir()] == ['3']


@pytest.mark.slow
def test_checkpoint_of_another_model_is_refused(simulation, tmp_path):
  _run(simulation, tmp_path)
  other = small.make(small.make_config())
  with (
    pytest.raises(CheckpointError, match='another version'),
    _open(tmp_path) as checkpoints,
  ):
    checkpoints.restore(other.init_state())


@pytest.mark.slow
@forgives_threads
def test_full_disk_is_named_and_the_checkpoint_before_is_kept(
  simulation, tmp_path
):
  state = simulation.init_state()
  with _open(tmp_path) as checkpoints:
    checkpoints.save(dataclasses.replace(state, round=np.int32(1)))
  _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
  try:
    with (
      pytest.raises(CheckpointError, match=r'make room .* from round 1$'),
      _open(tmp_path) as checkpoints,
    ):
      checkpoints.save(dataclasses.replace(state, round=np.int32(2)))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
  with _open(tmp_path) as checkpoints:
    assert checkpoints.last_round == 1
    _assert_equal(checkpoints.restore(state).params, state.params)


@pytest.mark.slow
def test_checkpoint_is_read_without_its_run(simulation, tmp_path):
  state = _run(simulation, tmp_path)
  named = read(tmp_path)
  np.testing.assert_array_equal(named['params'], state.params)
  assert read(tmp_path, 2)['round'] == 2
  with pytest.raises(CheckpointError, match=r'no checkpoint 1: .* \[2, 3\]'):
    read(tmp_path, 1)
  with pytest.raises(CheckpointError, match='not a folder'):
    read(tmp_path / 'absent')
