"""A proxy that counts the bytes of a TCP port, each way."""

import contextlib
import socket
import threading
from typing import Self


class CountingProxy:
  """Hands on what comes, and counts it.

  Attributes:
    address: `HOST:PORT` that it listens on.
    sent: bytes from those who connect.
    received: bytes to them.
  """

  def __init__(self, host: str, port: int) -> None:
    """Stands before a port."""
    self._target = host, port
    self._listener = socket.create_server((host, 0))
    self.address = f'{host}:{self._listener.getsockname()[1]}'
    self.sent = self.received = 0

  def __enter__(self) -> Self:
    """Begins."""
    threading.Thread(target=self._accept, daemon=True).start()
    return self

  def __exit__(self, *error: object) -> None:
    """Takes no more connections."""
    self._listener.close()

  def _accept(self) -> None:
    with contextlib.suppress(OSError):
      while True:
        near, _ = self._listener.accept()
        with contextlib.suppress(ConnectionError):
          far = socket.create_connection(self._target)
          for ends in ((near, far, 'sent'), (far, near, 'received')):
            threading.Thread(target=self._pump, args=ends, daemon=True).start()

  def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
    with contextlib.suppress(OSError):
      while data := source.recv(2**16):
        setattr(self, way, getattr(self, way) + len(data))
        sink.sendall(data)
    for end in (source, sink):
      with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
