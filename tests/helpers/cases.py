"""Cases of a test, of which some are left to who asks for all."""

from typing import Any

import pytest


def thorough(*values: Any) -> Any:
  """Returns a case of a parametrised test that is `thorough` (setup.cfg)."""
  return pytest.param(*values, marks=pytest.mark.thorough)
