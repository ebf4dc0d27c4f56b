"""What was probably meant by a name that is unknown."""

import difflib
from collections.abc import Iterable


def nearest(name: object, known: Iterable[str]) -> str:
  """Returns the known name that is most like another; '' if none is.

  >>> nearest('unform', ['normal', 'uniform'])
  'uniform'
  """
  return ''.join(difflib.get_close_matches(str(name), list(known), 1))
