"""What malicious clients send instead of what they trained.

To add an attack: a function that returns a `Craft`, and a line in
`UPDATE_ATTACKS`, which a file of one's own may add from outside.

Guarantees of every attack:
  - the rows of clients that are honest or not present are returned bit for bit,
    so that without a present malicious client everything is;
  - rows that are not present influence nothing, and may hold NaN;
  - without a present honest client, what the malicious ones trained counts as
    honest;
  - equal arguments and equal keys give equal results, and `malicious` and
    `present` may be traced.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from fps_jax.attacks import (
  ascent,
  bounded_distance,
  hidden,
  mean_shift,
  mimic,
  simple,
  trusted_direction,
)
from fps_jax.attacks.knowledge import Craft, KnownDefence, know
from fps_jax.core.registry import Registry
from fps_jax.core.types import Array, Key

# (updates float32 [C, M], malicious bool [C], present bool [C], key, number of
# values that clients send, what is known of the defence) -> float32 [C, M], in
# which present malicious clients' rows are replaced. Malicious clients trained
# honestly first, entries beyond what is sent are 0, and the rows of present
# clients are finite.
UpdateAttack = Callable[
  [Array, Array, Array, Key, Array | int | None, KnownDefence | None], Array
]

# Keyword arguments of `config.attack.args` -> what malicious clients send.
UPDATE_ATTACKS: Registry[Craft] = Registry(
  'attack',
  {
    'alie': mean_shift.alie,
    'ascent': ascent.ascent,
    'gaussian': simple.gaussian,
    'hidden': hidden.hidden,
    'ipm': mean_shift.ipm,
    'mimic': mimic.mimic,
    'min_max': bounded_distance.min_max,
    'min_sum': bounded_distance.min_sum,
    'scaling': simple.scaling,
    'sign_flip': simple.sign_flip,
    'trusted_direction': trusted_direction.trusted_direction,
    'wrap_around': simple.wrap_around,
  },
)


def make(name: str, **args: Any) -> UpdateAttack:
  """Returns an attack by name.

  Args:
    name: a key of `UPDATE_ATTACKS`.
    **args: of that attack.

  Raises:
    ValueError: if the name or an argument is unknown, an argument is missing,
      or one is out of range.
  """
  craft = UPDATE_ATTACKS.make(name, args)

  def attack(
    updates_CxM: Array,
    malicious_C: Array,
    present_C: Array,
    key: Key,
    num_values: Array | int | None = None,
    defence: KnownDefence | None = None,
  ) -> Array:
    known = know(updates_CxM, malicious_C, present_C, num_values, defence)
    crafted = craft(known, key)
    replaced_C = malicious_C & present_C
    return jnp.where(replaced_C[:, None], crafted, updates_CxM)

  return attack
