"""The figures of a page: as many curves in each as can be told apart."""

import base64
from collections.abc import Iterator, Sequence

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


def figures_of(studies: Sequence[Study]) -> Markup:
  """Draws all runs that were evaluated.

  Several studies are drawn together, if that makes no more than ten curves,
  and each by itself. One of more variants has figures for each prefix of
  `PREFIX--NAME`, and for every ten of the rest.
  """
  drawn = [group for study in studies for group in _groups(study)]
  together = [
    curve
    for study in studies
    for variant in study.variants
    for curve in _curves(variant, f'{study.label}: {variant.title}')
  ]
  if len(studies) > 1 and 0 < len(together) <= _MAX_CURVES:
    drawn.insert(0, ('All studies', together))
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
