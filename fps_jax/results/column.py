"""What is made of a column of the metrics, besides writing it down."""

from collections.abc import Callable
from typing import NamedTuple

from fps_jax.results.formats import show, show_range
from fps_jax.results.spread import Spread, Values


class Column(NamedTuple):
  """What is made of a column, besides writing it down.

  Attributes:
    reduce: from its values in the runs of a variant to one; None where no
      summary has it.
    form: of one value as text.
    is_needed: whether no report can do without it, and refuses rows of other
      versions that lack it.
    key: of what it comes to in `report.json`; '' leaves it out of reports.
    heading: of the same in tables.
    note: below them, on what it is; `{baseline}` stands for that variant.
    place: among the headings; those of none are last.
    is_optional: whether reports leave it out where nothing was measured.
    has_range: whether reports give the margin of the mean, the least and the
      most, too.
    plots_items: whether TensorBoard plots each number of a list, not how many
      there are.
  """

  reduce: Callable[[Values], Spread | None] | None = None
  form: Callable[[float], str] = '{:.3g}'.format
  is_needed: bool = False
  key: str = ''
  heading: str = ''
  note: str = ''
  place: int = 99
  is_optional: bool = False
  has_range: bool = False
  plots_items: bool = False

  def show(self, spread: Spread | None) -> str:
    """Returns what it comes to as text; '-' where nothing was measured."""
    if self.has_range:
      return show_range(self.form, spread)
    return show(self.form, spread and spread.middle)

  def to_json(self, spread: Spread | None) -> dict[str, float | None]:
    """Returns what `report.json` says of it."""
    if not self.has_range:
      return {self.key: spread and spread.middle}
    values = spread or (None, None, None, None)
    keys = (f'{self.key}_{kind}' for kind in ('mean', 'min', 'max', 'margin'))
    return dict(zip(keys, values, strict=True))
