"""Sharing lowers for accelerators that this machine need not have."""

import jax
import jax.numpy as jnp
import pytest

from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir

SCHEME = Shamir(PrimeField(2**22 - 3), 7, 4, 2)


@pytest.mark.parametrize('platform', ['cuda', 'tpu'])
def test_sharing_auditing_and_opening_lower_without_calling_openssl(
  platform: str,
):
  auditor = Auditor(SCHEME, SCHEME.server_points)

  def program(secrets_LxM, seeds_Zx8, coins_Qx8, opening_LxN, num_tiles):
    shares_NxM = SCHEME.share(secrets_LxM, seeds_Zx8)
    held_NxM = SCHEME.field.sum(jnp.stack([shares_NxM, shares_NxM]))
    checks_QxN = auditor.examine(held_NxM, coins_Qx8, num_tiles, 16)
    return SCHEME.open_shares(held_NxM, opening_LxN), checks_QxN

  words = [
    jax.ShapeDtypeStruct(shape, jnp.uint32)
    for shape in ((2, 64), (2, 8), (auditor.num_checks, 8), (2, 7))
  ]
  num_tiles = jax.ShapeDtypeStruct((), jnp.int32)
  # Pallas promises nothing of what is kept for another version of JAX.
  kernel = jax.export.DisabledSafetyCheck.custom_call('__gpu$xla.gpu.triton')
  exported = jax.export.export(
    jax.jit(program), platforms=[platform], disabled_checks=[kernel]
  )(*words, num_tiles)
  assert exported.platforms == (platform,)
  # A callback would keep the program on the host that made it.
  assert 'callback' not in exported.mlir_module()
