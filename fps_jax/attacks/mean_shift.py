"""Attacks by the mean and the standard deviation of the honest updates.

All malicious clients send the same.
"""

import jax.numpy as jnp
from jax.scipy.special import ndtri

from fps_jax.attacks import knowledge
from fps_jax.attacks.knowledge import Craft, Knowledge
from fps_jax.core import registry
from fps_jax.core.types import Array


def alie(deviations: float | None = None) -> Craft:
  """Sends mean - z * standard deviation, entry by entry.

  G. Baruch et al., A little is enough, NeurIPS 2019: of n clients, m of them
  malicious, s = floor(n / 2 + 1) - m honest ones have to lie further out for a
  majority, and z is the normal quantile of (n - m - s) / (n - m). Theirs are
  statistics of the malicious clients' own updates; here, as in most later work,
  those of the honest ones. ByzFL adds a given number of standard deviations,
  1.5 by default, to the mean.

  The quantiles of 0 and 1 are infinite, so that the probability stays half a
  client, 1 / (2 (n - m)), away from both: this matters where the malicious are
  a majority, or one of two. With a single malicious client among an even
  number, z is just below 0. Without a present honest client, n - m is the
  number of those that count as honest, m.

  Args:
    deviations: z itself, above 0; None to compute it.
  """
  if deviations is not None:
    registry.check_positive('deviations', deviations)

  def craft(known: Knowledge, _: object) -> Array:
    z = largest_deviations(known) if deviations is None else deviations
    return knowledge.mean(known) - z * knowledge.standard_deviation(known)

  return craft


def largest_deviations(known: Knowledge) -> Array:
  """Returns z of `alie`, float32 []."""
  supporters = known.num_present // 2 + 1 - known.num_malicious
  num_honest = knowledge.num_honest(known)
  margin = 0.5 / num_honest
  return ndtri(
    jnp.clip((num_honest - supporters) / num_honest, margin, 1 - margin)
  )


def ipm(epsilon: float = 0.1) -> Craft:
  """Sends -epsilon times the mean, so that the sum's product with it shrinks.

  C. Xie et al., Fall of empires: breaking Byzantine-tolerant SGD by inner
  product manipulation, UAI 2019. Epsilon is above 0: a small one hides among
  updates close to 0, a large one turns the mean of all clients around: with m
  of n malicious, one above (n - m) / m. The default is that of S. Karimireddy
  et al., Byzantine-robust learning on heterogeneous datasets via bucketing,
  ICLR 2022.
  """
  registry.check_positive('epsilon', epsilon)
  return lambda known, key: -epsilon * knowledge.mean(known)
