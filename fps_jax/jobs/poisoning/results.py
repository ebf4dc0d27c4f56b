"""What attacks came to against defences."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from fps_jax.results.metrics import COLUMNS
from fps_jax.results.summary import Run, Summary, summarise_variant
from fps_jax.results.titles import SEPARATOR

# What is in `poisoning.json` under which key, besides the accuracy.
_KEYS = {
  'attack_success_mean': 'attack_success',
  'malicious_weight_mean': 'malicious_weight',
  'opened_values_per_client': 'opened_values_per_client',
  'uplink_bytes_per_client': 'uplink_bytes_per_client',
  'server_to_central_bytes': 'server_to_central_bytes',
  'median_round_seconds': 'round_seconds',
}


@dataclasses.dataclass(frozen=True)
class PoisoningResult:
  """One attack against one defence, over the seeds under which none diverged.

  Its numbers are None if training diverged under every seed, which it can
  without malicious clients alone.

  Attributes:
    attack: of the variant's name.
    defence: of the variant's name.
    summary: of the variant.
  """

  attack: str
  defence: str
  summary: Summary

  @classmethod
  def of(cls, runs: Sequence[Run]) -> 'PoisoningResult':
    """Returns what the runs of a variant, of all seeds, came to."""
    attack, defence = runs[0].variant.split(SEPARATOR)
    return cls(attack, defence, summarise_variant(runs))

  @property
  def diverged_seeds(self) -> list[int]:
    """Those that are in no mean."""
    return [run.seed for run in self.summary.diverged]

  def show(self, column: str) -> str:
    """Returns what a column of the metrics came to as text."""
    return COLUMNS[column].show(self.summary.numbers[column])

  def to_json(self) -> dict[str, Any]:
    """Returns it as it stands in `poisoning.json`."""
    numbers = self.summary.numbers
    accuracy = COLUMNS['test_accuracy']._replace(key='test_accuracy')
    return {
      'attack': self.attack,
      'defence': self.defence,
      'diverged_seeds': self.diverged_seeds,
      **accuracy.to_json(numbers['test_accuracy']),
      **{key: self.summary.middle(column) for key, column in _KEYS.items()},
    }
