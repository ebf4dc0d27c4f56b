"""Keys of a deployment, and the roster by which all parties know each other.

Each node makes its own keys, and gives away its entry of the roster:

    python -m fps_jax.deploy.keys node FOLDER server_1 --role=server --numbers=1
    python -m fps_jax.deploy.keys node FOLDER hospital --role=client --numbers=0
    python -m fps_jax.deploy.keys roster FOLDER ENTRY.json ENTRY.json ...
    python -m fps_jax.deploy.keys certificates FOLDER HOST

`roster` prints a digest, which people compare by another way than they got the
files by: whoever can change a roster can read shares.
"""

import argparse
import contextlib
import dataclasses
import datetime
import hashlib
import ipaddress
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fps_jax.core import files
from fps_jax.deploy import sealing
from fps_jax.deploy.messages import CLIENT, ROLES, SERVER, Party

_ROSTER = 'roster.json'
_DAYS = 365
_OPENSSH = serialization.Encoding.OpenSSH


class Node(NamedTuple):
  """A process of one server, or of one or more clients.

  Attributes:
    role: `'client'` or `'server'`.
    numbers: of its parties.
    node_key: its public key at Flower, a line of OpenSSH.
    keys: public ones of its parties: a server's seals, a client's verifies.
  """

  role: str
  numbers: tuple[int, ...]
  node_key: str
  keys: tuple[bytes, ...]

  @property
  def parties(self) -> dict[Party, bytes]:
    """Its parties, and the public key of each."""
    parties = [Party(self.role, number) for number in self.numbers]
    return dict(zip(parties, self.keys, strict=True))

  def to_json(self) -> dict[str, Any]:
    """Returns its entry of a roster."""
    return {**self._asdict(), 'keys': [key.hex() for key in self.keys]}

  @classmethod
  def from_json(cls, entry: Mapping[str, Any]) -> 'Node':
    """Returns the node of an entry.

    Raises:
      ValueError: if it is none.
    """
    try:
      node = cls(
        entry['role'],
        tuple(entry['numbers']),
        entry['node_key'],
        tuple(bytes.fromhex(key) for key in entry['keys']),
      )
      is_node = node.role in ROLES and len(node.keys) == len(node.numbers) > 0
    except (KeyError, TypeError, AttributeError) as error:
      raise ValueError(f'an entry of the roster lacks {error}') from error
    if not is_node:
      raise ValueError(
        f'an entry of the roster has role={node.role!r}, {len(node.numbers)} '
        f'numbers and {len(node.keys)} keys: make it anew'
      )
    return node


@dataclasses.dataclass(frozen=True)
class Roster:
  """All nodes of a deployment, by name.

  Raises:
    ValueError: if two nodes have one party, or servers are not numbered 1 .. N.
  """

  nodes: Mapping[str, Node]

  def __post_init__(self):
    parties = [party for node in self.nodes.values() for party in node.parties]
    for party in parties:
      if parties.count(party) > 1:
        raise ValueError(f'two entries of the roster are {party}')
    servers = sorted(p.number for p in parties if p.role == SERVER)
    if servers != list(range(1, len(servers) + 1)):
      raise ValueError(f'servers {servers} must be numbered from 1 on')

  @property
  def names(self) -> dict[Party, str]:
    """The node of each party."""
    return {p: name for name, node in self.nodes.items() for p in node.parties}

  @property
  def sealing_keys(self) -> list[bytes]:
    """Of servers 1 .. N."""
    return [key for _, key in sorted(self._keys(SERVER).items())]

  @property
  def verifying_keys(self) -> dict[int, bytes]:
    """Of clients, by number."""
    return self._keys(CLIENT)

  def _keys(self, role: str) -> dict[int, bytes]:
    return {
      party.number: key
      for node in self.nodes.values()
      for party, key in node.parties.items()
      if party.role == role
    }

  def write(self, folder: pathlib.Path) -> str:
    """Writes it into a folder; returns what people compare."""
    entries = {name: node.to_json() for name, node in self.nodes.items()}
    text = json.dumps(entries, indent=2, sort_keys=True)
    (folder / _ROSTER).write_text(text)
    for name, node in self.nodes.items():
      # What Flower is told of a node.
      (folder / f'{name}.pub').write_text(f'{node.node_key}\n')
    return hashlib.sha256(text.encode()).hexdigest()

  @classmethod
  def read(cls, folder: pathlib.Path) -> 'Roster':
    """Returns the roster of a folder.

    Raises:
      ValueError: if it is none.
      OSError: if there is none.
    """
    entries = json.loads(files.read_text(folder / _ROSTER))
    return cls({name: Node.from_json(entries[name]) for name in entries})


def make_node(
  folder: pathlib.Path,
  name: str,
  role: str,
  numbers: Sequence[int],
  hybrid: bool = False,
) -> Node:
  """Makes the keys of a node in `FOLDER/NAME`; returns its entry of the roster.

  The entry is in `FOLDER/NAME.json`, too, to be given away.

  Args:
    folder: of the deployment.
    name: of the node.
    role: `'client'` or `'server'`.
    numbers: of its parties.
    hybrid: whether a server's key resists quantum computers.

  Raises:
    ValueError: if a server has not one number.
    OSError: if there are keys already.
  """
  if role == SERVER and len(numbers) != 1:
    raise ValueError(f'a server has one number, not {len(numbers)}')
  own = folder / name
  own.mkdir(parents=True, mode=0o700)
  node_key = ec.generate_private_key(ec.SECP384R1())
  _write_private(
    own / 'node.key',
    node_key.private_bytes(
      serialization.Encoding.PEM,
      serialization.PrivateFormat.OpenSSH,
      serialization.NoEncryption(),
    ),
  )
  public = node_key.public_key().public_bytes(
    _OPENSSH, serialization.PublicFormat.OpenSSH
  )
  (own / 'node.key.pub').write_bytes(public)
  if role == SERVER:
    private = [sealing.make_opening_key(hybrid)]
    keys = tuple(map(sealing.sealing_key, private))
  else:
    private = [sealing.make_signing_key() for _ in numbers]
    keys = tuple(map(sealing.verifying_key, private))
  secrets = json.dumps([key.hex() for key in private])
  _write_private(own / 'keys.json', secrets.encode())
  node = Node(role, tuple(numbers), public.decode(), keys)
  (folder / f'{name}.json').write_text(json.dumps({name: node.to_json()}))
  return node


def read_private(folder: pathlib.Path, name: str) -> list[bytes]:
  """Returns the private keys of a node's parties, in the order of numbers.

  Raises:
    ValueError: if the file is damaged.
    OSError: if there is none.
  """
  text = files.read_text(folder / name / 'keys.json')
  return [bytes.fromhex(key) for key in json.loads(text)]


def make_certificates(folder: pathlib.Path, host: str) -> None:
  """Makes `ca.crt`, `link.crt` and `link.key`, of TLS at a host, for a year.

  The authority's own key is thrown away: it signs nothing else.
  """
  authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
  issuer = _name('fps_jax deployment')
  names: list[x509.GeneralName] = [x509.DNSName(host)]
  with contextlib.suppress(ValueError):  # It is a name.
    names = [x509.IPAddress(ipaddress.ip_address(host))]
  root = _certificate(issuer, issuer, authority.public_key()).add_extension(
    x509.BasicConstraints(ca=True, path_length=0), critical=True
  )
  link = _certificate(_name(host), issuer, key.public_key()).add_extension(
    x509.SubjectAlternativeName(names), critical=False
  )
  for name, builder in (('ca.crt', root), ('link.crt', link)):
    signed = builder.sign(authority, hashes.SHA256())
    pem = signed.public_bytes(serialization.Encoding.PEM)
    (folder / name).write_bytes(pem)
  _write_private(
    folder / 'link.key',
    key.private_bytes(
      serialization.Encoding.PEM,
      serialization.PrivateFormat.PKCS8,
      serialization.NoEncryption(),
    ),
  )


def _certificate(
  subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
  now = datetime.datetime.now(datetime.UTC)
  return (
    x509.CertificateBuilder()
    .subject_name(subject)
    .issuer_name(issuer)
    .public_key(key)
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - datetime.timedelta(minutes=5))
    .not_valid_after(now + datetime.timedelta(days=_DAYS))
  )


def _name(text: str) -> x509.Name:
  return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _write_private(path: pathlib.Path, content: bytes) -> None:
  path.touch(mode=0o600, exist_ok=False)
  path.write_bytes(content)


def main() -> None:
  """Makes keys, a roster or certificates, as the command line says."""
  parser = argparse.ArgumentParser(prog='python -m fps_jax.deploy.keys')
  commands = parser.add_subparsers(dest='command', required=True)
  node = commands.add_parser('node', help='make the keys of a node')
  node.add_argument('folder', type=pathlib.Path)
  node.add_argument('name')
  node.add_argument('--role', choices=ROLES, required=True)
  node.add_argument('--numbers', type=int, nargs='+', required=True)
  node.add_argument('--hybrid', action='store_true')
  roster = commands.add_parser('roster', help='put entries together')
  roster.add_argument('folder', type=pathlib.Path)
  roster.add_argument('entries', type=pathlib.Path, nargs='+')
  certificates = commands.add_parser('certificates', help='make those of TLS')
  certificates.add_argument('folder', type=pathlib.Path)
  certificates.add_argument('host', help='of the SuperLink, as nodes call it')
  args = parser.parse_args()
  try:
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.command == 'node':
      make_node(args.folder, args.name, args.role, args.numbers, args.hybrid)
      print(f'Give away {args.folder / args.name}.json, and nothing else')
    elif args.command == 'roster':
      entries: dict[str, Any] = {}
      for path in args.entries:
        entries |= json.loads(files.read_text(path))
      nodes = {name: Node.from_json(entries[name]) for name in entries}
      print(f'Compare everywhere: {Roster(nodes).write(args.folder)}')
    else:
      make_certificates(args.folder, args.host)
  except (ValueError, OSError) as error:
    parser.exit(1, f'error: {error}\n')


if __name__ == '__main__':
  main()
