"""A benchmark's tables, for a terminal and in Markdown."""

from collections.abc import Sequence

from rich import box
from rich.table import Table


def terminal_table(
  title: str, header: Sequence[str], lines: Sequence[Sequence[str]]
) -> Table:
  """Returns a table to be printed; the first column names the others."""
  table = Table(
    title=title,
    box=box.SIMPLE,
    title_justify='left',
    padding=(0, 1, 0, 0),
  )
  for i, column in enumerate(header):
    table.add_column(column, justify='right' if i else 'left', no_wrap=i == 0)
  for line in lines:
    table.add_row(*line)
  return table


def markdown_table(
  title: str, header: Sequence[str], lines: Sequence[Sequence[str]]
) -> str:
  """Returns a table in Markdown, under its title."""
  rule = ['---', *['---:'] * (len(header) - 1)]
  table = '\n'.join(
    f'| {" | ".join(line)} |' for line in (header, rule, *lines)
  )
  return f'{title}\n\n{table}\n'
