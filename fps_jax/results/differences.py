"""Nested settings side by side: which fields differ, and how.

>>> flatten({'client': {'momentum': 0.9}, 'seeds': [0, 1]})
{'client.momentum': '0.9', 'seeds': '[0, 1]'}
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NOT_SET = 'not set'


class Field(NamedTuple):
  """One field of several settings; `values` has one for each, as text."""

  name: str
  values: list[str]

  @property
  def differs(self) -> bool:
    """Whether the values are not all the same."""
    return len(set(self.values)) > 1


def flatten(settings: Mapping[str, Any], prefix: str = '') -> dict[str, str]:
  """Returns dotted names and values as text, strings without quotes."""
  flat: dict[str, str] = {}
  for name, value in settings.items():
    if isinstance(value, Mapping) and value:
      flat |= flatten(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = value if isinstance(value, str) else _text(value)
  return flat


def _text(value: Any) -> str:
  return json.dumps(value, ensure_ascii=False)


def compare(settings: Sequence[Mapping[str, Any]]) -> list[Field]:
  """Lists every field of any of the settings, those that differ first.

  Within either group fields keep the order in which they first appear. A field
  that only some have is `NOT_SET` in the others.
  """
  flat = [flatten(each) for each in settings]
  names = dict.fromkeys(name for each in flat for name in each)
  fields = [
    Field(name, [each.get(name, NOT_SET) for each in flat]) for name in names
  ]
  return sorted(fields, key=lambda field: not field.differs)
