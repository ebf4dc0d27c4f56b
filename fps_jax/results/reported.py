"""What reports say of a variant: columns of metrics, and what rows lack."""

from collections.abc import Mapping

from fps_jax.results.column import Column
from fps_jax.results.formats import format_points
from fps_jax.results.metrics import COLUMNS

# Of no round: the baseline's mean uplink over a variant's.
SAVING = 'uplink_saving_factor'
# Of no round: a variant's test accuracy less the baseline's, seed by seed.
DIFFERENCE = 'test_accuracy_difference'
# What reports may say of a variant, in their order.
REPORTED: Mapping[str, Column] = dict(
  sorted(
    [
      *((name, column) for name, column in COLUMNS.items() if column.key),
      (
        SAVING,
        Column(
          form='{:.2f}x'.format,
          key=SAVING,
          heading='Uplink saving',
          note='Uplink saving: the uplink of {baseline} divided by that of '
          'the method. Below 1x, the method sends more.',
          place=5,
        ),
      ),
      (
        DIFFERENCE,
        Column(
          form=format_points,
          key=f'{DIFFERENCE}_fraction',
          heading='Difference (points)',
          note='Difference: test accuracy less that of {baseline} under the '
          'same seed, in percentage points; of several seeds, as above.',
          place=1,
          is_optional=True,
          has_range=True,
        ),
      ),
    ],
    key=lambda named: named[1].place,
  )
)
