"""The figures of a page: as many curves in each as can be told apart."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fps_jax.results import curves, figures
from fps_jax.results.curves import MEASURES, Curve
from fps_jax.results.recorded import Study, Variant
from fps_jax.results.subject import Subject, subject_of
from fps_jax.results.summary import Run
from fps_jax.results.titles import SEPARATOR, title_of_attack

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
  """

  source: str
  text: str
  caption: str


class Group(NamedTuple):
  """Figures of the same curves, over one thing each.

  Attributes:
    title: above them.
    subject: data set and model of all of them.
    figures: at least one.
  """

  title: str
  subject: str
  figures: list[Drawn]


class _Curves(NamedTuple):
  """What is drawn together."""

  title: str
  subject: str
  curves: list[Curve]


def draw(studies: Sequence[Study]) -> list[Group]:
  """Draws all runs that were evaluated.

  Studies of one data set and one model are drawn together, if that makes no
  more than ten curves, and each by itself. No figure has two data sets. A study
  of more variants has figures for each prefix of `PREFIX--NAME`, and for every
  ten of the rest.
  """
  groups = [*_together(studies), *(g for s in studies for g in _groups(s))]
  return [
    Group(
      group.title,
      group.subject,
      [
        one
        for measure, some in curves.by_measure(group.curves).items()
        for one in _draw(group.title, measure, some)
      ],
    )
    for group in groups
  ]


def _together(studies: Sequence[Study]) -> Iterator[_Curves]:
  """Yields the curves of several studies, those of each subject apart."""
  by_subject: dict[Subject, dict[str, list[Curve]]] = {}
  for study in studies:
    for variant in study.variants:
      members = by_subject.setdefault(subject_of(variant.config), {})
      title = f'{study.label}: {variant.title}'
      members.setdefault(study.label, []).extend(_curves(variant, title))
  for subject, members in by_subject.items():
    of_studies = [some for some in members.values() if some]
    together = [curve for some in of_studies for curve in some]
    if len(of_studies) > 1 and len(together) <= _MAX_CURVES:
      is_all = len(of_studies) == len(studies)
      title = 'All studies' if is_all else f'Studies of {subject}'
      yield _Curves(title, _text([subject]), together)


def _text(subjects: Iterable[Subject]) -> str:
  of_each = zip(*subjects, strict=True)
  named = zip(('Data set', 'Model'), map(dict.fromkeys, of_each), strict=True)
  return ' '.join(
    f'{kind}: {" or ".join(names)}.' for kind, names in named if any(names)
  )


def _curves(variant: Variant, title: str) -> list[Curve]:
  """Returns the curves over the complete runs, and one for each other run.

  The round in which a run diverged is no part of it.
  """
  complete = [run.rows for run in variant.complete]
  return [
    *curves.make_curves(
      title,
      complete,
      {
        f'seed {run.seed}, {rounds_done(run, variant)}': run.rows_before
        for run in (*variant.diverged, *variant.incomplete)
      },
    ),
    *curves.make_worst_curves(title, complete),
  ]


def rounds_done(run: Run, variant: Variant) -> str:
  """Returns how far a run has come, and whether it ended there."""
  if run.has_diverged:
    return f'diverged in round {len(run.rows)} of {variant.num_rounds}'
  return f'{len(run.rows)} of {variant.num_rounds} rounds'


def _groups(study: Study) -> Iterator[_Curves]:
  """Yields what is drawn together of a study."""
  found = [
    (subject_of(variant.config), variant.name.partition(SEPARATOR), curve)
    for variant in study.variants
    for curve in _curves(variant, variant.title)
  ]
  most = max(
    map(len, curves.by_measure([c for *_, c in found]).values()), default=0
  )
  groups: dict[tuple[str, str, str], dict[Subject, list[Curve]]] = {}
  for subject, (prefix, separator, _), curve in found:
    is_apart = separator and most > _MAX_CURVES
    key = (subject.data, prefix if is_apart else '', curve.measure)
    groups.setdefault(key, {}).setdefault(subject, []).append(curve)
  for (_, prefix, _), by_subject in groups.items():
    title = (
      f'{study.label}: {title_of_attack(prefix)}' if prefix else study.label
    )
    members = [curve for some in by_subject.values() for curve in some]
    for start in range(0, len(members), _MAX_CURVES):
      some = members[start : start + _MAX_CURVES]
      yield _Curves(title, _text(by_subject), some)


def _draw(title: str, measure: str, some: Sequence[Curve]) -> Iterator[Drawn]:
  form = '{:.4g}' if measure == 'loss' else '{:.2f} %'
  last = '; '.join(
    f'{curve.title} {form.format(curve.mean[-1])} after round '
    f'{curve.rounds[-1]}'
    for curve in some
  )
  low, high = figures.limits(some)
  is_cut = any(c.mean.min() < low or c.mean.max() > high for c in some)
  for name, content in figures.render_svg(some).items():
    shown = f'{MEASURES[measure].words} over {_COSTS[name]}'
    data = base64.b64encode(content).decode('ascii')
    yield Drawn(
      f'data:image/svg+xml;base64,{data}',
      f'{shown}, {title}. Last evaluated: {last}.',
      shown + '. The first rounds lie outside of what is shown.' * is_cut,
    )
