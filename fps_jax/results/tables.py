"""Tables and pages, for a terminal and in Markdown."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box, text
from rich import table as rich_table


class Table(NamedTuple):
  """Lines of text under a header; the first column names the others."""

  title: str
  header: Sequence[str]
  lines: Sequence[Sequence[str]]

  def terminal(self) -> rich_table.Table:
    """Returns it to be printed."""
    table = rich_table.Table(
      title=self.title,
      box=box.SIMPLE,
      title_justify='left',
      padding=(0, 1, 0, 0),
    )
    for i, column in enumerate(self.header):
      table.add_column(column, justify='right' if i else 'left', no_wrap=i == 0)
    for line in self.lines:
      # As rich Text: a name in brackets would be taken for markup.
      table.add_row(*map(text.Text, line))
    return table

  def markdown(self) -> str:
    """Returns it in Markdown, under its title if it has one."""
    rule = ['---', *['---:'] * (len(self.header) - 1)]
    table = '\n'.join(
      f'| {" | ".join(line)} |' for line in (self.header, rule, *self.lines)
    )
    return f'{self.title}\n\n{table}' if self.title else table


def page(*blocks: str | Table) -> str:
  """Returns a page of Markdown; blocks that are empty are left out."""
  written = (
    block.markdown() if isinstance(block, Table) else block for block in blocks
  )
  return '\n\n'.join(filter(None, written)) + '\n'


def bullets(lines: Iterable[str]) -> str:
  """Returns a list in Markdown."""
  return '\n'.join(f'- {line}' for line in lines)
