"""Keys and rosters: what is made of them, and what is refused."""

import json
import ssl
import stat
from unittest import mock

import pytest

from fps_jax.deploy import keys, sealing
from fps_jax.deploy.local import Deployment
from fps_jax.deploy.messages import CLIENT, SERVER, Party


def test_roster_has_the_public_keys_of_all_parties(tmp_path):
  nodes = {
    'b': keys.make_node(tmp_path, 'b', SERVER, [2]),
    'a': keys.make_node(tmp_path, 'a', SERVER, [1], hybrid=True),
    'c': keys.make_node(tmp_path, 'c', CLIENT, [3, 0]),
  }
  keys.Roster(nodes).write(tmp_path)
  roster = keys.Roster.read(tmp_path)
  private = {name: keys.read_private(tmp_path, name) for name in nodes}
  assert roster.sealing_keys == [
    sealing.sealing_key(private[name][0]) for name in ('a', 'b')
  ]
  assert roster.verifying_keys == {
    3: sealing.verifying_key(private['c'][0]),
    0: sealing.verifying_key(private['c'][1]),
  }
  assert roster.names[Party(CLIENT, 0)] == 'c'


def test_private_keys_are_for_their_owner_alone_and_in_no_entry(tmp_path):
  node = keys.make_node(tmp_path, 'a', SERVER, [1])
  for path in (tmp_path / 'a').iterdir():
    if path.suffix != '.pub':
      assert stat.S_IMODE(path.stat().st_mode) == 0o600
  assert stat.S_IMODE((tmp_path / 'a').stat().st_mode) == 0o700
  (secret,) = keys.read_private(tmp_path, 'a')
  assert secret.hex() not in (tmp_path / 'a.json').read_text()
  assert (
    keys.Node.from_json(json.loads((tmp_path / 'a.json').read_text())['a'])
    == node
  )


def test_keys_are_not_written_over(tmp_path):
  keys.make_node(tmp_path, 'a', SERVER, [1])
  with pytest.raises(OSError, match='a'):
    keys.make_node(tmp_path, 'a', SERVER, [1])


def test_keys_whose_making_was_interrupted_are_made_anew(tmp_path):
  deployment = Deployment(tmp_path / 'parties', [])
  with (
    mock.patch.object(keys, 'make_certificates', side_effect=KeyboardInterrupt),
    pytest.raises(KeyboardInterrupt),
  ):
    deployment.make_keys(2, [[0]])
  assert not deployment.folder.exists()
  deployment.make_keys(2, [[0]])
  roster = keys.Roster.read(deployment.folder)
  deployment.make_keys(2, [[0]])
  assert keys.Roster.read(deployment.folder) == roster


def test_roster_that_does_not_fit_is_refused(tmp_path):
  one = keys.make_node(tmp_path, 'one', SERVER, [1])
  three = keys.make_node(tmp_path, 'three', SERVER, [3])
  with pytest.raises(
    ValueError, match='two entries of the roster are server 1'
  ):
    keys.Roster({'one': one, 'again': one})
  with pytest.raises(ValueError, match=r'servers \[1, 3\] must be numbered'):
    keys.Roster({'one': one, 'three': three})
  with pytest.raises(ValueError, match='a server has one number, not 2'):
    keys.make_node(tmp_path, 'both', SERVER, [1, 2])
  for change in ({'role': 'central'}, {'numbers': []}, {'keys': ['00', '11']}):
    with pytest.raises(ValueError, match='an entry of the roster'):
      keys.Node.from_json({**one.to_json(), **change})
  with pytest.raises(ValueError, match='lacks'):
    keys.Node.from_json({'role': SERVER})


@pytest.mark.parametrize('host', ['127.0.0.1', 'link.example'])
def test_certificates_are_of_the_host_and_their_authority(host, tmp_path):
  keys.make_certificates(tmp_path, host)
  names = tmp_path / 'link.crt', tmp_path / 'link.key'
  server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
  server.load_cert_chain(*names)
  client = ssl.create_default_context(cafile=tmp_path / 'ca.crt')
  ends = [(ssl.MemoryBIO(), ssl.MemoryBIO())]
  near, far = ends[0]
  one = client.wrap_bio(near, far, server_hostname=host)
  other = server.wrap_bio(far, near, server_side=True)
  for _ in range(3):
    for end in (one, other):
      try:
        end.do_handshake()
      except ssl.SSLWantReadError:
        continue
  assert one.version() == 'TLSv1.3'
