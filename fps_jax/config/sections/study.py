"""Fields of no section: what a study is, and how long it runs."""

from collections.abc import Iterator
from typing import Any

from fps_jax.config.checks import boolean, choice, text, whole, within
from fps_jax.config.section import Field, Section
from fps_jax.core.registry import is_whole
from fps_jax.core.rng import MAX_SEED
from fps_jax.results.workdir import NAME_RULE, is_name

# Every round is planned before the first one.
MAX_ROUNDS = 10**6


def _name(value: Any) -> Iterator[str]:
  if not is_name(value):
    yield NAME_RULE


def _seeds(value: Any) -> Iterator[str]:
  if not isinstance(value, tuple) or not all(map(is_whole, value)):
    yield 'must be whole numbers'
    return
  if not value or len(set(value)) != len(value):
    yield 'must be distinct and at least one'
  if not all(0 <= seed <= MAX_SEED for seed in value):
    yield f'must be in [0, {MAX_SEED}]'


SECTION = Section(
  '',
  {
    'name': Field('study', _name, 'names the default work directory'),
    'job': Field('study', text, 'a key of fps_jax.jobs.run.JOBS'),
    'seeds': Field((0,), _seeds, 'one run of every variant for each'),
    'num_rounds': Field(40, whole(1, MAX_ROUNDS)),
    'on_divergence': Field(
      'end_run',
      choice(('end_run', 'stop')),
      'once loss, model or updates are not finite: or stop, the whole study',
    ),
    'target_accuracy': Field(
      0.0,
      within(0, 1, '[)'),
      'what it cost to reach this test accuracy is reported; 0: nothing is',
    ),
    'smoke_test': Field(
      False,
      boolean,
      'cut down to show that everything runs: reports say that its numbers are '
      'no results',
    ),
    'baseline': Field(
      '', text, 'variant that savings are measured against; empty: none'
    ),
  },
)
