"""Which clients are malicious: drawn on the host, once for a run."""

import numpy as np

from fps_jax.core import arrays


def choose_malicious(
  num_clients: int, fraction: float, generator: np.random.Generator
) -> np.ndarray:
  """Returns the clients that are malicious, drawn without replacement.

  Guarantees:
    - there are exactly round(fraction * num_clients) of them, as Python rounds
      (halves to even), all different, in ascending order;
    - equal arguments and equal states of `generator` give equal clients.

  Args:
    num_clients: at least 1.
    fraction: of the clients, in [0, 1).
    generator: source of randomness; its state advances.

  Returns:
    int32 client numbers, counted from 0.

  Raises:
    ValueError: if an argument is out of range.
  """
  arrays.check_integer('num_clients', num_clients, 1)
  if not 0 <= fraction < 1:
    raise ValueError(
      f'fraction={fraction} must be in [0, 1): it is the part of the clients '
      'that is malicious, and 0 means none'
    )
  count = round(fraction * num_clients)
  chosen = generator.choice(num_clients, count, replace=False)
  return np.sort(chosen).astype(np.int32)
