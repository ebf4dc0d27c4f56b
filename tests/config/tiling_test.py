"""How updates are cut is chosen by the devices only where nobody can see it."""

import pytest

from fps_jax.config import build
from fps_jax.federated.layout import LONGEST_TILE
from tests.helpers import small


@pytest.mark.parametrize(
  ('overrides', 'is_longer'),
  [
    ({}, True),
    ({'attack__updates': 'gaussian'}, False),
    ({'defence__name': 'krum'}, False),
  ],
)
def test_tiles_are_longer_but_where_draws_are_made_for_whole_ones(
  overrides: dict[str, str], is_longer: bool
):
  config = small.make_config(pruning__schedule='none')
  simulation = small.make(config)
  small.change(config, **overrides)
  tiling = build.make_tiling(
    config, 50_000, simulation.protocol, simulation.pruning_plans, 2**17
  )
  assert (tiling.size > LONGEST_TILE) is is_longer
