"""Tables and pages, for a terminal and in Markdown."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box, cells
from rich import table as rich_table
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.text import Text

# Of a line in a file or a pipe, where nothing is cut off.
_ANY_WIDTH = 10_000


def make_console() -> Console:
  """Returns standard output; but for a terminal, as wide as what is put there.

  Where output goes to a file or a pipe, a table's lines are neither cut off nor
  broken.
  """
  console = Console()
  return console if console.is_terminal else Console(width=_ANY_WIDTH)


class Table(NamedTuple):
  """Lines of text under a header; the first column names the others.

  Attributes:
    title: above it.
    header: names of the columns.
    lines: as many cells each.
    caption: notes below it, a line each.
    num_wrapping: how many columns, the first ones, may be broken between words
      where a terminal is narrow.
  """

  title: str
  header: Sequence[str]
  lines: Sequence[Sequence[str]]
  caption: str = ''
  num_wrapping: int = 1

  def terminal(self) -> RenderableType:
    """Returns it to be printed; no cell is cut off, whatever the width."""
    return _Fitted(self)

  def markdown(self) -> str:
    """Returns it in Markdown, with its title and its notes if it has some."""
    rule = ['---', *['---:'] * (len(self.header) - 1)]
    table = '\n'.join(
      f'| {" | ".join(line)} |' for line in (self.header, rule, *self.lines)
    )
    title = f'**{self.title}**' if self.title else ''
    blocks = (title, table, bullets(self.caption.splitlines()))
    return '\n\n'.join(filter(None, blocks))


class _Fitted:
  """The widest shape of a table that fits where it is printed."""

  def __init__(self, table: Table):
    self._table = table

  def __rich_console__(
    self, console: Console, options: ConsoleOptions
  ) -> RenderResult:
    """Yields a grid, with headings and cells broken if need be, or a list."""
    anything, columns = options.update(width=_ANY_WIDTH), self._columns()
    most = self._table.num_wrapping
    for splits, num_wrapping in ((False, 0), (True, 0), (True, most)):
      widths = [
        max(map(cells.cell_len, _pieces(column, splits, i < num_wrapping)))
        for i, column in enumerate(columns)
      ]
      needed = Measurement.get(console, anything, self._grid(widths))
      room = options.max_width - needed.maximum
      if room >= 0:
        if num_wrapping:
          # Left to itself, the grid would break a word of one column and leave
          # another wider than it need be.
          widths = _widen(widths, columns, room)
        yield self._grid(widths)
        if self._table.caption:
          yield Text(self._table.caption)
        return
    yield Text('\n'.join(self._list()))

  def _columns(self) -> list[list[str]]:
    """Returns the cells of each column, its heading first."""
    return [
      [heading, *(line[i] for line in self._table.lines)]
      for i, heading in enumerate(self._table.header)
    ]

  def _grid(self, widths: Sequence[int]) -> rich_table.Table:
    """Returns a table whose columns are so wide."""
    table = self._table
    grid = rich_table.Table(
      # As rich Text: a name in brackets would be taken for markup.
      title=Text(table.title, style='table.title') if table.title else None,
      box=box.SIMPLE_HEAD,
      title_justify='left',
      padding=(0, 1, 0, 0),
    )
    for i, (heading, width) in enumerate(
      zip(table.header, widths, strict=True)
    ):
      grid.add_column(
        Text(heading),
        justify='right' if i else 'left',
        width=width,
        vertical='bottom',
      )
    for line in table.lines:
      grid.add_row(*map(Text, line))
    return grid

  def _list(self) -> Iterable[str]:
    """Yields a block for each line, a line for each of its cells."""
    table = self._table
    _, *header = table.header
    width = max(map(len, header), default=0)
    yield table.title
    for name, *line in table.lines:
      yield name
      for heading, cell in zip(header, line, strict=True):
        yield f'  {heading:<{width}}  {cell}'
    if table.caption:
      yield table.caption


def _pieces(column: Sequence[str], splits: bool, wraps: bool) -> list[str]:
  """Returns what of a column is not broken further."""
  heading, *lines = column
  return [
    *(heading.split(' ') if splits else [heading]),
    *(
      word for line in lines for word in (line.split(' ') if wraps else [line])
    ),
  ]


def _widen(
  widths: Sequence[int], columns: Sequence[Sequence[str]], room: int
) -> list[int]:
  """Returns widths to which room is added, first columns first."""
  widened = []
  for width, (_, *lines) in zip(widths, columns, strict=True):
    added = min(
      room, max(0, max(map(cells.cell_len, lines), default=0) - width)
    )
    widened.append(width + added)
    room -= added
  return widened


def page(*blocks: str | Table) -> str:
  """Returns a page of Markdown; blocks that are empty are left out."""
  written = (
    block.markdown() if isinstance(block, Table) else block for block in blocks
  )
  return '\n\n'.join(filter(None, written)) + '\n'


def bullets(lines: Iterable[str]) -> str:
  """Returns a list in Markdown."""
  return '\n'.join(f'- {line}' for line in lines)
