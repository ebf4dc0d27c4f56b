"""How a config's clients send their updates: a scheme is an entry here.

What differs between schemes is on the objects, each in a file of its own.
"""

from collections.abc import Mapping

from fps_jax.sharing.schemes.ideal import Ideal
from fps_jax.sharing.schemes.plain import Plain
from fps_jax.sharing.schemes.quantised import Quantised
from fps_jax.sharing.schemes.scheme import Scheme
from fps_jax.sharing.schemes.shamir_sum import Shared

SCHEMES: Mapping[str, Scheme] = {
  'none': Plain(),
  'quantised': Quantised(),
  'ideal': Ideal(),
  'shamir': Shared(),
}
