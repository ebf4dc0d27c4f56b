"""Shares that only their server reads: sealed to its key, signed by the client.

A share is sealed by HPKE (RFC 9180, base mode) of the package `cryptography`:
DHKEM(X25519, HKDF-SHA256) or, with a hybrid key, ML-KEM-768 and X25519
together; HKDF-SHA256; ChaCha20-Poly1305. The label of a message, which both
sides know, goes into the key schedule as `info`: what section 8.1 of the RFC
asks of who seals one message a key. Base mode does not tell who sealed, so the
client signs label and ciphertext with Ed25519.

Keys are raw bytes: private ones as their seeds.
"""

import struct
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
  Ed25519PrivateKey,
  Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.mlkem import (
  MLKEM768PrivateKey,
  MLKEM768PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
  X25519PrivateKey,
  X25519PublicKey,
)
from cryptography.hazmat.primitives.hpke import (
  AEAD,
  KDF,
  KEM,
  MLKEM768X25519PrivateKey,
  MLKEM768X25519PublicKey,
  Suite,
)

from fps_jax.sharing.messages.shared import DIGEST_BYTES

RUN_BYTES = 16
_SIGNATURE_BYTES = 64
_X25519_BYTES = 32
_PURPOSE = b'fps_jax share 2\0'
_LABEL = struct.Struct(f'<{RUN_BYTES}s5I{DIGEST_BYTES}s')
_CURVE, _HYBRID = (
  Suite(kem, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
  for kem in (KEM.X25519, KEM.MLKEM768_X25519)
)


class SealError(ValueError):
  """A sealed message is not what it should be; the message says whose."""


class Label(NamedTuple):
  """What a sealed message is for; it opens under no other label.

  Attributes:
    run: 16 bytes that no other run has.
    start: how often the central server has begun the run anew.
    round: from 0.
    attempt: attempts at the round before this one.
    client: number of the sender.
    server: number of the receiver.
    context: digest of the study, its seed, the clients that were asked, and the
      model that they were sent.
  """

  run: bytes
  start: int
  round: int
  attempt: int
  client: int
  server: int
  context: bytes

  def encode(self) -> bytes:
    """Returns the bytes that are bound to the ciphertext."""
    return _PURPOSE + _LABEL.pack(*self)


def make_signing_key() -> bytes:
  """Returns a client's private key, 32 bytes."""
  return Ed25519PrivateKey.generate().private_bytes_raw()


def verifying_key(signing_key: bytes) -> bytes:
  """Returns the public part of a client's key, 32 bytes."""
  key = Ed25519PrivateKey.from_private_bytes(signing_key)
  return key.public_key().public_bytes_raw()


def make_opening_key(hybrid: bool = False) -> bytes:
  """Returns a server's private key: 32 bytes, or 96 of a hybrid one."""
  curve = X25519PrivateKey.generate().private_bytes_raw()
  if not hybrid:
    return curve
  return curve + MLKEM768PrivateKey.generate().private_bytes_raw()


def sealing_key(opening_key: bytes) -> bytes:
  """Returns the public part of a server's key: 32 bytes, or 1,216.

  Raises:
    ValueError: if it is no key.
  """
  curve, lattice = _private_parts(opening_key)
  public = curve.public_key().public_bytes_raw()
  if lattice is None:
    return public
  return public + lattice.public_key().public_bytes_raw()


def seal(
  message: bytes, label: Label, sealing_key: bytes, signing_key: bytes
) -> bytes:
  """Returns a message that only the owner of a key can read.

  Args:
    message: of any length.
    label: what it is for.
    sealing_key: the server's.
    signing_key: the client's own.

  Raises:
    ValueError: if a key is none.
  """
  curve = X25519PublicKey.from_public_bytes(sealing_key[:_X25519_BYTES])
  suite: Suite = _CURVE
  key: Any = curve
  if len(sealing_key) > _X25519_BYTES:
    suite = _HYBRID
    rest = MLKEM768PublicKey.from_public_bytes(sealing_key[_X25519_BYTES:])
    key = MLKEM768X25519PublicKey(rest, curve)
  info = label.encode()
  sealed = suite.encrypt(message, key, info=info)
  signer = Ed25519PrivateKey.from_private_bytes(signing_key)
  return signer.sign(info + sealed) + sealed


def unseal(
  sealed: bytes, label: Label, opening_key: bytes, verifying_key: bytes
) -> bytes:
  """Returns the message that was sealed.

  Args:
    sealed: what arrived.
    label: what it should be for.
    opening_key: the server's own.
    verifying_key: the client's.

  Raises:
    SealError: if another one sealed it, or for another label or server, or it
      was changed.
    ValueError: if a key is none.
  """
  curve, lattice = _private_parts(opening_key)
  suite: Suite = _CURVE
  key: Any = curve
  if lattice is not None:
    suite, key = _HYBRID, MLKEM768X25519PrivateKey(lattice, curve)
  signature, sealed = sealed[:_SIGNATURE_BYTES], sealed[_SIGNATURE_BYTES:]
  info = label.encode()
  verifier = Ed25519PublicKey.from_public_bytes(verifying_key)
  about = f'of client {label.client} in round {label.round + 1}'
  try:
    verifier.verify(signature, info + sealed)
  except InvalidSignature as error:
    raise SealError(
      f'the signature {about} is not of its pinned key, or is for another run, '
      'round, attempt, cohort, model or server, or the message was changed'
    ) from error
  try:
    return suite.decrypt(sealed, key, info=info)
  except InvalidTag as error:
    raise SealError(
      f'the share {about} was sealed to another key than that of server '
      f'{label.server}: give the client the pinned keys of this deployment'
    ) from error


def _private_parts(
  key: bytes,
) -> tuple[X25519PrivateKey, MLKEM768PrivateKey | None]:
  curve = X25519PrivateKey.from_private_bytes(key[:_X25519_BYTES])
  rest = key[_X25519_BYTES:]
  return curve, MLKEM768PrivateKey.from_seed_bytes(rest) if rest else None
