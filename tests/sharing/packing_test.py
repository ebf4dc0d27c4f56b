"""What servers between t and k know of packed secrets: all of a tiny field."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir


@pytest.mark.parametrize('num_known', [1, 2, 3, 4])
def test_j_servers_know_j_minus_t_relations_of_l_secrets(num_known):
  """Each relation leaves a seventh of the secrets; k - t = l leave one."""
  p, num_secrets = 7, 3
  scheme = Shamir(PrimeField(p), 4, 4, num_secrets)
  assert scheme.num_random == 1
  dealings = np.indices((p,) * 4, dtype=np.uint32).reshape(4, -1)
  secrets_LxM, random_ZxM = dealings[:num_secrets], dealings[num_secrets:]
  shares_NxM = np.asarray(
    scheme.share_with(jnp.asarray(secrets_LxM), jnp.asarray(random_ZxM))
  )
  left = p ** (num_secrets - (num_known - scheme.num_random))
  for servers in itertools.combinations(range(4), num_known):
    views, counts = np.unique(
      np.concatenate([shares_NxM[list(servers)], secrets_LxM]).T,
      axis=0,
      return_counts=True,
    )
    assert (counts == counts[0]).all()  # No secret is likelier than another.
    compatible = np.unique(views[:, :num_known], axis=0, return_counts=True)[1]
    assert (compatible == left).all()
