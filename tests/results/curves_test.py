"""Curves of variants, and the figures that show them."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
import pytest
from matplotlib import image as mpl_image

from fps_jax.results import (
  curves,
  figures,
)
from fps_jax.results import summary as summaries
from tests.helpers.runs import write_run


@pytest.mark.slow
def test_equal_curves_give_equal_bytes_and_leave_global_state(
  tmp_path: pathlib.Path,
) -> None:
  percent = np.array([50.0, 90.0])
  curve = curves.Curve(
    'c',
    rounds=np.array([1, 2]),
    uplink_megabytes=np.array([0.1, 300.0]),
    simulated_minutes=None,
    mean=percent,
    low=percent,
    high=percent,
    kept_percent=100.0,
  )
  state = matplotlib.rcParams.copy()
  paths = figures.write_figures(tmp_path, [curve])
  assert [path.name for path in paths] == [
    'accuracy_rounds.png',
    'accuracy_rounds.pdf',
    'accuracy_uplink.png',
    'accuracy_uplink.pdf',
  ]
  first = [path.read_bytes() for path in paths]
  figures.write_figures(tmp_path, [curve])
  assert [path.read_bytes() for path in paths] == first
  assert matplotlib.rcParams.copy() == state


@pytest.mark.parametrize('uplink', [(0, 5), (0, 0)])
def test_rounds_in_which_nothing_was_sent_yet_have_no_place_on_a_log_axis(
  uplink: tuple[int, ...],
) -> None:
  curve = dataclasses.replace(
    _curve('c'), uplink_megabytes=np.array(uplink, float)
  )
  assert b'Cumulative uplink' in figures.render_svg([curve])['uplink']


def _curve(title: str) -> curves.Curve:
  percent = np.array([50.0, 90.0])
  rounds = np.array([1, 2])
  return curves.Curve(
    title, rounds, rounds, None, percent, percent, percent, 100.0
  )


def test_equal_curves_give_equal_svg_that_refers_to_itself_alone() -> None:
  files = figures.render_svg([_curve('c')])
  assert list(files) == ['rounds', 'uplink']
  assert figures.render_svg([_curve('c')]) == files
  for content in files.values():
    hrefs = re.findall(r'href="(.)', content.decode())
    assert hrefs and set(hrefs) == {'#'}


@pytest.mark.slow
@pytest.mark.parametrize('title', ['medium ' * 4, 'long ' * 14])
def test_titles_of_many_curves_are_not_cut_off(
  tmp_path: pathlib.Path, title: str
) -> None:
  many = [_curve(f'{title}{index}') for index in range(10)]
  path, *_ = figures.write_figures(tmp_path, many)
  pixels_HxWxC = mpl_image.imread(path)[..., :3]
  assert pixels_HxWxC.shape[0] > 700
  for edge in (pixels_HxWxC[:, :2], pixels_HxWxC[:, -2:], pixels_HxWxC[:2]):
    assert np.all(edge == 1)


def test_curve_has_mean_range_and_cumulative_uplink(
  tmp_path: pathlib.Path,
) -> None:
  write_run(tmp_path, 'pruning', 0, [None, 0.5, 0.8], [4_000_000] * 3)
  write_run(tmp_path, 'pruning', 1, [0.1, 0.75, 0.9], [2_000_000] * 3)
  runs = summaries.collect(tmp_path, ['pruning'])['pruning']
  curve = curves.make_curve('Pruning', [run.rows for run in runs])
  # Seed 0 was not evaluated in round 1.
  np.testing.assert_array_equal(curve.rounds, [2, 3])
  np.testing.assert_allclose(curve.uplink_megabytes, [6, 9])
  np.testing.assert_allclose(curve.mean, [62.5, 85])
  np.testing.assert_allclose(curve.low, [50, 80])
  np.testing.assert_allclose(curve.high, [75, 90])


def test_limits_show_every_curve_after_its_first_fifth() -> None:
  rounds = np.arange(1, 11)
  percent = np.array([10, 20, 80, 90, 91, 92, 93, 94, 95, 100.0])
  curve = curves.Curve(
    'c', rounds, rounds, None, percent, percent - 1, percent, 100.0
  )
  # From 79 to 100, and 5 % of 21 on either side.
  assert figures.limits([curve]) == pytest.approx((77.95, 101.05))


def _curve_of(values: Sequence[float], measure: str) -> curves.Curve:
  return dataclasses.replace(
    _curve('c'),
    rounds=1 + np.arange(len(values)),
    uplink_megabytes=1.0 + np.arange(len(values)),
    **dict.fromkeys(('mean', 'low', 'high'), np.array(values)),
    measure=measure,
  )


def test_run_that_ended_early_shows_its_end_and_does_not_widen_the_view() -> (
  None
):
  long = _curve_of([10.0] * 4 + [97.0] * 16, 'accuracy')
  early = _curve_of([10.0, 50.0, 90.0], 'accuracy')
  low, high = figures.limits([long, early])
  assert 85 < low < 90 and 97 < high < 98


@pytest.mark.slow
def test_loss_that_grows_beyond_all_bounds_hides_no_other() -> None:
  good = _curve_of([3.0, 1.0, 0.5], 'loss')
  wild = _curve_of([3.0, 1e6, 1e30], 'loss')
  low, high = figures.limits([good, wild])
  assert 0 < low < 0.5 and 1e30 < high < 1e33
  # Powers of ten are along the axis.
  assert b'{10^{' in figures.render_svg([good, wild])['rounds']
  assert b'{10^{' not in figures.render_svg([good])['rounds']


def test_single_round_has_a_whole_number_on_its_axis() -> None:
  figure = figures.render_svg([_curve_of([50.0], 'accuracy')])['rounds']
  assert b'<!-- 1 -->' in figure and b'<!-- 0.9' not in figure
