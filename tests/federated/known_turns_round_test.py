"""A round whose trip counts are known, as accelerators have it, on a CPU."""

import numpy as np
import pytest

from fps_jax.federated import chunks
from fps_jax.federated.performance import Performance
from tests.helpers import small
from tests.helpers.cases import thorough


@pytest.mark.slow
@pytest.mark.parametrize(
  'overrides',
  [
    # Chunks of other numbers of steps, and one of nobody.
    {
      'data__partition': 'quantity_skew',
      'faults__client_dropout_probability': 0.4,
    },
    thorough({'sharing__audit': 'clients', 'client__momentum': 0.9}),
  ],
)
def test_known_trip_counts_change_no_bit_of_the_model(
  monkeypatch: pytest.MonkeyPatch, overrides: dict[str, object]
):
  config = small.make_config(
    perf__execution='vmap', perf__chunk_size=3, client__batch_size=4
  )
  small.change(config, **overrides)
  expected, rows = small.run(config)
  # Several strides, the last of which is not whole.
  monkeypatch.setattr(chunks, '_MOST_TOGETHER', 3)
  monkeypatch.setattr(Performance, 'is_cpu', False)
  actual, rows_of_known = small.run(config)
  np.testing.assert_array_equal(actual, expected)
  # The loss is added up where XLA likes, which its last bits show.
  for row, of_known in zip(rows, rows_of_known, strict=True):
    loss = row.pop('train_loss')
    assert of_known.pop('train_loss') == pytest.approx(loss, rel=1e-6)
  assert rows_of_known == rows
