"""The figures of a page: as many curves in each as can be told apart."""

import base64
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fps_jax.results import figures
from fps_jax.results.html.markup import Markup, join, tag
from fps_jax.results.recorded import Study, Variant
from fps_jax.results.summary import Run

# More lines than this are a tangle.
_MAX_CURVES = 10
_COSTS = {
  'rounds': 'rounds',
  'uplink': 'uplink per client',
  'time': 'simulated time',
}


class _Named(NamedTuple):
  """A curve, and what it is drawn with where a study has too many of them."""

  group: str
  curve: figures.Curve


def figures_of(studies: Sequence[Study]) -> Markup:
  """Draws all runs that were evaluated.

  Several studies are drawn together, if that makes no more than ten curves,
  and each by itself. One of more variants has figures for each prefix of
  `PREFIX--NAME`, and for every ten of the rest.
  """
  of_each = {
    study.label: [
      named
      for variant in study.variants
      for named in _curves(variant, variant.title)
    ]
    for study in studies
  }
  groups = [
    group for label, named in of_each.items() for group in _groups(label, named)
  ]
  together = [
    named.curve
    for study in studies
    for variant in study.variants
    for named in _curves(variant, f'{study.label}: {variant.title}')
  ]
  if len(studies) > 1 and len(together) <= _MAX_CURVES:
    groups.insert(0, ('All studies', together))
  drawn = [(title, curves) for title, curves in groups if curves]
  if not drawn:
    return tag('p', 'No run has been evaluated yet.')
  return join(
    join(
      [
        *([tag('h3', title)] if len(drawn) > 1 else []),
        tag('div', *_draw(title, curves), class_='figures'),
      ]
    )
    for title, curves in drawn
  )


def _curves(variant: Variant, title: str) -> Iterator[_Named]:
  """Yields one curve over the complete runs, and one for each other.

  The round in which a run diverged is no part of it.
  """
  prefix, separator, _ = variant.name.partition('--')
  group = prefix if separator else ''
  if complete := variant.complete:
    rows = [run.rows for run in complete]
    yield _Named(group, figures.make_curve(title, rows))
  for run in (*variant.diverged, *variant.incomplete):
    if any(row['test_accuracy'] is not None for row in run.rows_before):
      named = f'{title}, seed {run.seed}, {rounds_done(run, variant)}'
      yield _Named(group, figures.make_curve(named, [run.rows_before]))


def rounds_done(run: Run, variant: Variant) -> str:
  """Returns how far a run has come, and whether it ended there."""
  if run.has_diverged:
    return f'diverged in round {len(run.rows)} of {variant.num_rounds}'
  return f'{len(run.rows)} of {variant.num_rounds} rounds'


def _groups(
  label: str, named: Sequence[_Named]
) -> Iterator[tuple[str, list[figures.Curve]]]:
  """Yields the title and the curves of what is drawn together of a study."""
  if len(named) <= _MAX_CURVES:
    yield label, [each.curve for each in named]
    return
  for group in dict.fromkeys(each.group for each in named):
    members = [each.curve for each in named if each.group == group]
    for start in range(0, len(members), _MAX_CURVES):
      yield (
        f'{label}: {group}' if group else label,
        members[start : start + _MAX_CURVES],
      )


def _draw(title: str, curves: Sequence[figures.Curve]) -> Iterator[Markup]:
  last = '; '.join(
    f'{curve.title} {curve.mean_percent[-1]:.2f} % after round '
    f'{curve.rounds[-1]}'
    for curve in curves
  )
  for name, content in figures.render_svg(curves).items():
    shown = f'Test accuracy over {_COSTS[name]}'
    data = base64.b64encode(content).decode('ascii')
    alt = f'{shown}, {title}. Last evaluated: {last}.'
    yield tag(
      'figure',
      tag('img', src=f'data:image/svg+xml;base64,{data}', alt=alt),
      tag('figcaption', shown),
    )
