"""Robust aggregation: rules that bound what malicious clients can do to a sum.

A Gram rule needs the updates' inner products alone, and returns weights of a
sum. It works on updates in the clear, and as well on inner products of linear
sketches that servers open from shares. A coordinate rule orders the values of
every coordinate, which takes the updates themselves.

To add one: write a function and a line in `GRAM_RULES` or `COORDINATE_RULES`;
one in `LEAST_COHORT` unless it takes 2f + 1 clients to bear f malicious ones;
its name in `ROOT_RULES` or `SELECTING_RULES` where that is what it does; and
its arguments in `config/sections/defence.py`. A file of one's own may do so
from outside, and its weights below 0 count as 0; a rule in this folder must not
give any.

Example:
  >>> import jax
  >>> import jax.numpy as jnp
  >>> updates = jnp.float32([[1, 2], [1, 1], [2, 1], [1, 2], [-9, -9]])
  >>> defence = make('multi_krum', num_malicious=1)
  >>> present = jnp.ones(5, bool)
  >>> defence.weigh(updates @ updates.T, present, jax.random.key(0)).tolist()
  [0.25, 0.25, 0.25, 0.25, 0.0]
"""

from fps_jax.defences.defence import (
  COORDINATE_RULES,
  GRAM_RULES,
  LEAST_COHORT,
  PRE_STEPS,
  ROOT_RULES,
  SELECTING_RULES,
  Defence,
  check,
  make,
  needs_root,
  selects_one,
)

__all__ = [
  'COORDINATE_RULES',
  'GRAM_RULES',
  'LEAST_COHORT',
  'PRE_STEPS',
  'ROOT_RULES',
  'SELECTING_RULES',
  'Defence',
  'check',
  'make',
  'needs_root',
  'selects_one',
]
