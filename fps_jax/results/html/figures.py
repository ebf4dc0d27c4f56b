"""The figures of a page: as many curves in each as can be told apart."""

import base64
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fps_jax.results import figures
from fps_jax.results.recorded import Study, Variant
from fps_jax.results.summary import Run

# More lines than this are a tangle.
_MAX_CURVES = 10
_COSTS = {
  'rounds': 'rounds',
  'uplink': 'uplink per client',
  'time': 'simulated time',
}


class Drawn(NamedTuple):
  """A figure.

  Attributes:
    source: its content as a URL.
    text: what it says.
    caption: below it.
    measure: that it shows, as of `figures.Curve`.
  """

  source: str
  text: str
  caption: str
  measure: str


def draw(studies: Sequence[Study]) -> list[tuple[str, list[Drawn]]]:
  """Draws all runs that were evaluated.

  Several studies are drawn together, if that makes no more than ten curves,
  and each by itself. One of more variants has figures for each prefix of
  `PREFIX--NAME`, and for every ten of the rest.

  Returns:
    Title and figures of each group of curves.
  """
  groups = [group for study in studies for group in _groups(study)]
  together = [
    curve
    for study in studies
    for variant in study.variants
    for curve in _curves(variant, f'{study.label}: {variant.title}')
  ]
  if len(studies) > 1 and 0 < len(together) <= _MAX_CURVES:
    groups.insert(0, ('All studies', together))
  return [
    (title, list(_draw(title, measure, some)))
    for title, curves in groups
    for measure, some in figures.by_measure(curves).items()
  ]


def _curves(variant: Variant, title: str) -> list[figures.Curve]:
  """Returns one curve over the complete runs, and one for each other.

  The round in which a run diverged is no part of it.
  """
  return figures.make_curves(
    title,
    [run.rows for run in variant.complete],
    {
      f'seed {run.seed}, {rounds_done(run, variant)}': run.rows_before
      for run in (*variant.diverged, *variant.incomplete)
    },
  )


def rounds_done(run: Run, variant: Variant) -> str:
  """Returns how far a run has come, and whether it ended there."""
  if run.has_diverged:
    return f'diverged in round {len(run.rows)} of {variant.num_rounds}'
  return f'{len(run.rows)} of {variant.num_rounds} rounds'


def _groups(study: Study) -> Iterator[tuple[str, list[figures.Curve]]]:
  """Yields the title and the curves of what is drawn together of a study."""
  named = [
    (variant.name.partition('--'), curve)
    for variant in study.variants
    for curve in _curves(variant, variant.title)
  ]
  by_prefix: dict[str, list[figures.Curve]] = {}
  for (prefix, separator, _), curve in named:
    is_apart = separator and len(named) > _MAX_CURVES
    by_prefix.setdefault(prefix if is_apart else '', []).append(curve)
  for prefix, members in by_prefix.items():
    title = f'{study.label}: {prefix}' if prefix else study.label
    for start in range(0, len(members), _MAX_CURVES):
      yield title, members[start : start + _MAX_CURVES]


def _draw(
  title: str, measure: str, curves: Sequence[figures.Curve]
) -> Iterator[Drawn]:
  form = '{:.2f} %' if measure == 'accuracy' else '{:.4g}'
  last = '; '.join(
    f'{curve.title} {form.format(curve.mean[-1])} after round '
    f'{curve.rounds[-1]}'
    for curve in curves
  )
  for name, content in figures.render_svg(curves).items():
    shown = f'Test {measure} over {_COSTS[name]}'
    data = base64.b64encode(content).decode('ascii')
    yield Drawn(
      f'data:image/svg+xml;base64,{data}',
      f'{shown}, {title}. Last evaluated: {last}.',
      shown,
      measure,
    )
