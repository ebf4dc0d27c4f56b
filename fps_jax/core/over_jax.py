"""Processes that JAX has brought together tell each other things over it.

Everything here is called by all processes, and waits for all of them.
"""

import contextlib
import fcntl
import socket
import struct

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from fps_jax.core.devices import gather, make_mesh, put_per_process
from fps_jax.core.interruption import Ending, say
from fps_jax.core.peers import Peers, listen

_ANY_PORT = 0
_SIOCGIFADDR = 0x8915  # Of Linux's sockios.h: an interface's address.


def exchange(text: str) -> list[str]:
  """Returns the texts of all processes in their order."""
  own = np.frombuffer(text.encode(), np.uint8)
  sizes = gather(np.array([len(own)], np.int32))[:, 0]
  padded = np.zeros(sizes.max(), np.uint8)
  padded[: len(own)] = own
  return [
    row[:size].tobytes().decode()
    for row, size in zip(gather(padded), sizes, strict=True)
  ]


def of_first(array: np.ndarray) -> np.ndarray:
  """Returns process 0's array, bit for bit.

  Args:
    array: process 0's; of others one of the same shape and type, whose values
      do not count.
  """
  if jax.process_count() == 1:
    return array
  # As whole numbers, for 0.0 + -0.0 is not -0.0; their sum takes no more memory
  # than one of them.
  own = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
  if jax.process_index():
    own = np.zeros_like(own)
  mesh = make_mesh(1)
  add = jax.jit(
    lambda bytes_PxB: jnp.sum(bytes_PxB, axis=0, dtype=jnp.uint8),
    out_shardings=NamedSharding(mesh, PartitionSpec()),
  )
  added = add(put_per_process(mesh, own[np.newaxis]))
  told = np.asarray(added.addressable_data(0))
  return told.view(array.dtype).reshape(array.shape)


def text_of_first(text: str) -> str:
  """Returns process 0's text."""
  return text if jax.process_count() == 1 else exchange(text)[0]


def watch(timeout: float, ending: Ending) -> Peers | None:
  """Has all processes watch over each other.

  Args:
    timeout: seconds to wait until all are connected.
    ending: ends this process if another does.

  Returns:
    The others; None, and says so, where some do not reach process 0.
  """
  process = jax.process_index()
  listener = None if process else listen(_ANY_PORT, 'any port')
  port = listener.getsockname()[1] if listener else _ANY_PORT
  address = text_of_first(
    ','.join(f'{host}:{port}' for host in _own_addresses())
  )
  peers = Peers(address, jax.process_count(), process, timeout, ending)
  refusal = ''
  try:
    peers.connect(listener)
  except ValueError as error:
    refusal = str(error)
  refusals = [each for each in exchange(refusal) if each]
  if not refusals:
    return peers
  if not process:
    say(
      f'warning: processes do not watch over each other ({refusals[0]}): have '
      'what starts them end all when one ends (srun --kill-on-bad-exit)'
    )
  return None


def _own_addresses() -> list[str]:
  """Returns this host's IPv4 addresses, those that others may reach first."""
  found = []
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    for _, name in socket.if_nameindex():
      # An interface may have none.
      with contextlib.suppress(OSError):
        asked = struct.pack('256s', name.encode())
        reply = fcntl.ioctl(any_socket, _SIOCGIFADDR, asked)
        found.append(socket.inet_ntoa(reply[20:24]))
  return sorted(found, key=lambda address: address.startswith('127.'))
