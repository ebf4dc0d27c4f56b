"""HTML from Python values: whatever is not markup already is escaped.

>>> tag('td', 'a < b', tag('b', '!'), class_='x')
'<td class="x">a &lt; b<b>!</b></td>'
"""

import html
import pathlib
from collections.abc import Iterable, Sequence

_STYLE = pathlib.Path(__file__).with_name('markup.css')
# Nothing is fetched and nothing runs, whatever the page says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_VOID = ('img', 'meta')


class Markup(str):
  """Text that is HTML already."""

  __slots__ = ()


def join(parts: Iterable[str]) -> Markup:
  """Joins parts; those that are not markup are escaped."""
  return Markup(
    ''.join(
      part if isinstance(part, Markup) else html.escape(part) for part in parts
    )
  )


def tag(name: str, /, *children: str, **attributes: str) -> Markup:
  """Returns an element.

  Args:
    name: of the element.
    *children: what it holds; escaped unless it is markup.
    **attributes: escaped; an underscore at the end is dropped, so that
      `class_` is possible, and others are hyphens.
  """
  written = ''.join(
    f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
    for key, value in attributes.items()
  )
  end = '' if name in _VOID else f'</{name}>'
  return Markup(f'<{name}{written}>{join(children)}{end}')


def table(
  caption: str,
  heading: Sequence[str],
  groups: Sequence[tuple[str, Sequence[Sequence[str]]]],
  kind: str,
) -> Markup:
  """Returns a table that scrolls by itself where the screen is narrow.

  Args:
    caption: what the table shows.
    heading: names of the columns.
    groups: title and rows of each group of rows; a title of '' is not shown.
      The first cell of a row is its heading.
    kind: class of the table: `numbers` or `settings`.
  """
  bodies = []
  for title, rows in groups:
    body = [
      tag(
        'tr',
        tag('th', row[0], scope='row'),
        *(tag('td', cell) for cell in row[1:]),
      )
      for row in rows
    ]
    if title:
      span = str(len(heading))
      body.insert(
        0, tag('tr', tag('th', title, colspan=span, scope='rowgroup'))
      )
    bodies.append(tag('tbody', *body))
  columns = [tag('th', name, scope='col') for name in heading]
  return tag(
    'div',
    tag(
      'table',
      tag('caption', caption),
      tag('thead', tag('tr', *columns)),
      *bodies,
      class_=kind,
    ),
    class_='scrolls',
    role='region',
    tabindex='0',
    aria_label=caption,
  )


def details(summary: str, *children: str) -> Markup:
  """Returns something folded that a click opens."""
  return tag('details', tag('summary', summary), *children)


def page(title: str, *children: str) -> str:
  """Returns a whole page that needs no other file."""
  head = tag(
    'head',
    tag('meta', charset='utf-8'),
    tag('meta', http_equiv='Content-Security-Policy', content=_POLICY),
    tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
    tag('meta', name='color-scheme', content='light dark'),
    tag('title', title),
    tag('style', Markup(_STYLE.read_text(encoding='utf-8'))),
  )
  body = tag('body', tag('main', *children))
  return f'<!DOCTYPE html>\n{tag("html", head, body, lang="en")}\n'
