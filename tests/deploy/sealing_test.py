"""Sealed shares: what opens them, and that nothing else does."""

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fps_jax.deploy import sealing
from fps_jax.deploy.sealing import Label, SealError, seal, unseal

LABEL = Label(b'r' * 16, 1, 2, 3, 4, 5, b'c' * 16)
OTHERS = {
  'run': b's' * 16,
  'start': 0,
  'round': 1,
  'attempt': 0,
  'client': 5,
  'server': 4,
  'context': b'd' * 16,
}
SIGNING, OTHER_SIGNING = (sealing.make_signing_key() for _ in range(2))
VERIFYING = sealing.verifying_key(SIGNING)
OPENING = {hybrid: sealing.make_opening_key(hybrid) for hybrid in (False, True)}


def _seal(hybrid: bool = False, signing: bytes = SIGNING) -> bytes:
  return seal(b'share', LABEL, sealing.sealing_key(OPENING[hybrid]), signing)


@pytest.mark.parametrize('hybrid', [False, True])
def test_sealed_share_opens_under_its_label(hybrid):
  assert unseal(_seal(hybrid), LABEL, OPENING[hybrid], VERIFYING) == b'share'


def test_no_two_seals_are_alike():
  assert _seal() != _seal()


def test_suite_opens_the_vector_of_rfc_9180():
  """Appendix A.2.1, sequence number 0, whose associated data is not empty."""
  from cryptography.hazmat.bindings._rust import openssl

  key = '8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb'
  encapsulated = (
    '1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a'
  )
  sealed = (
    '1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db'
    '21993c62ce81883d2dd1b51a28'
  )
  opened = openssl.hpke._decrypt_with_aad(
    sealing._CURVE,
    bytes.fromhex(encapsulated + sealed),
    X25519PrivateKey.from_private_bytes(bytes.fromhex(key)),
    b'Ode on a Grecian Urn',
    b'Count-0',
  )
  assert opened == b'Beauty is truth, truth beauty'


@pytest.mark.parametrize('part', OTHERS)
def test_sealed_share_is_refused_under_another_label(part):
  label = LABEL._replace(**{part: OTHERS[part]})
  with pytest.raises(SealError, match='signature'):
    unseal(_seal(), label, OPENING[False], VERIFYING)


@pytest.mark.parametrize('part', OTHERS)
def test_ciphertext_is_bound_to_its_label_by_itself(part):
  """Were the signature valid, the key schedule would still be another."""
  label = LABEL._replace(**{part: OTHERS[part]})
  signature_bytes = 64
  sealed = _seal()[signature_bytes:]
  signer = sealing.Ed25519PrivateKey.from_private_bytes(SIGNING)
  signed = signer.sign(label.encode() + sealed) + sealed
  with pytest.raises(SealError, match='another key'):
    unseal(signed, label, OPENING[False], VERIFYING)


def test_share_of_another_client_is_refused():
  with pytest.raises(SealError, match='client 4 in round 3 is not of its'):
    unseal(_seal(signing=OTHER_SIGNING), LABEL, OPENING[False], VERIFYING)


@pytest.mark.parametrize('hybrid', [False, True])
def test_share_to_another_key_is_refused(hybrid):
  other = sealing.make_opening_key(hybrid)
  with pytest.raises(SealError, match='than that of server 5'):
    unseal(_seal(hybrid), LABEL, other, VERIFYING)


@pytest.mark.parametrize('hybrid', [False, True])
def test_every_truncation_is_refused(hybrid):
  sealed = _seal(hybrid)
  for length in range(0, len(sealed), 1 + 20 * hybrid):
    with pytest.raises(SealError):
      unseal(sealed[:length], LABEL, OPENING[hybrid], VERIFYING)


def test_every_bit_of_a_sealed_share_counts():
  sealed = _seal()
  for place, bit in itertools.product(range(len(sealed)), range(8)):
    changed = bytearray(sealed)
    changed[place] ^= 1 << bit
    with pytest.raises(SealError):
      unseal(bytes(changed), LABEL, OPENING[False], VERIFYING)
