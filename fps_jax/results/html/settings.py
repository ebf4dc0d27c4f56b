"""Configs and environments of studies side by side, as HTML."""

import json
import shlex
from collections.abc import Iterator, Sequence

from fps_jax.results.differences import Field, compare
from fps_jax.results.html.markup import Markup, details, table, tag
from fps_jax.results.recorded import Study


def configs(studies: Sequence[Study]) -> Iterator[Markup]:
  """Yields what differs between configs, then, folded, all that is in them."""
  titles = [
    f'{study.label}: {variant.title}' if len(studies) > 1 else variant.title
    for study in studies
    for variant in study.variants
  ]
  fields = compare([v.config for study in studies for v in study.variants])
  differing = [field for field in fields if field.differs]
  equal = [field for field in fields if not field.differs]
  if differing:
    # The longer side goes down, where a page has room.
    by_config = len(titles) > len(differing)
    yield _settings(
      'Fields that differ; marked where they are not as in the first config',
      differing,
      titles,
      by_config,
    )
  yield details(
    f'{len(equal)} fields that are the same in all',
    table(
      'Fields that are the same in all configs',
      ['Field', 'Value'],
      [('', [[field.name, field.values[0]] for field in equal])],
      'settings',
    ),
  )
  for study in studies:
    yield details(
      f'The whole config of {study.label}',
      tag('pre', json.dumps(study.config, indent=2, ensure_ascii=False)),
    )


def _settings(
  caption: str,
  fields: Sequence[Field],
  titles: Sequence[str],
  is_transposed: bool = False,
) -> Markup:
  """Lays out fields, one a row, and marks what is not as in the first column.

  Transposed, fields are columns, and the first row is what others are held to.
  """
  rows = [
    ['Field', *titles],
    *(
      [
        field.name,
        *(
          value if value == field.values[0] else tag('mark', value)
          for value in field.values
        ),
      ]
      for field in fields
    ),
  ]
  if is_transposed:
    rows = [list(column) for column in zip(*rows, strict=True)]
    rows[0][0] = 'Config'
  return table(caption, rows[0], [('', rows[1:])], 'settings')


def environment(studies: Sequence[Study]) -> Iterator[Markup]:
  """Yields what studies ran on, what differs first, and their commands."""
  caption = 'What the studies ran on'
  if len(studies) > 1:
    caption += '; marked where it is not as in the first'
  fields = compare([study.environment for study in studies])
  yield _settings(
    caption,
    [field for field in fields if field.name not in ('argv', 'resumed')],
    [study.label for study in studies],
  )
  yield tag('h3', 'Command lines')
  for study in studies:
    yield tag('p', study.label, class_='quiet')
    for started in (study.environment, *study.environment.get('resumed', ())):
      yield tag('pre', shlex.join(started.get('argv', ['not recorded'])))
