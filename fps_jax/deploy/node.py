"""A node: a SuperNode of Flower, and the parties behind it, in one process.

    python -m fps_jax.deploy.node FOLDER NAME HOST:PORT -- --config=...

Flower ships the code of an app from the SuperLink to the nodes, and starts a
process for each message. Whoever runs the SuperLink would have the keys and the
data of a party that ran it. So a node runs the package that is installed here,
which takes messages and no code, and stays, with what is compiled.
"""

import argparse
import fcntl
import logging as python_logging
import pathlib
import pkgutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import httpx
from absl import logging
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import (
  HeartbeatSender,
  make_task_heartbeat_fn_http,
)
from flwr.supercore.interceptors import (
  RuntimeTokenHttpInterceptor,
  RuntimeVersionHttpInterceptor,
)
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.cli import flower_supernode
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.runtime.run_clientapp import (
  pull_task_input,
  push_message,
  push_task_output,
)

from fps_jax import data
from fps_jax.deploy import keys, sealing
from fps_jax.deploy.client import Client, Memory
from fps_jax.deploy.link import CLAIM, MESSAGE_TYPE, pack, unpack
from fps_jax.deploy.messages import SERVER, Reply, Request
from fps_jax.deploy.server import Ledger, Server
from fps_jax.deploy.study import Study, read_command

_POLL_SECONDS = 0.3
# A node that was killed is there for Flower until it has missed two heartbeats.
_LOST_SECONDS, _AGAIN_SECONDS = 90.0, 5.0


def reserve(folder: pathlib.Path) -> TextIO:
  """Returns an open file that keeps other processes from being a node.

  Two with the keys of one server would each give a sum of a round away.

  Args:
    folder: of the node, with its keys.

  Raises:
    ValueError: if another process is that node.
    OSError: if there is no such folder.
  """
  lock = (folder / 'lock').open('w')
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    lock.close()
    raise ValueError(
      f'{folder} is in use: another process is node {folder.name}, end it first'
    ) from error
  return lock


def make_parties(
  folder: pathlib.Path, name: str, study: Study
) -> dict[str, Client | Server]:
  """Returns the parties of a node, by what they are called.

  Raises:
    ValueError: if the node is not of the roster, or its keys are others.
    OSError: if a file is missing.
  """
  roster = keys.Roster.read(folder)
  if name not in roster.nodes:
    raise ValueError(f'node {name!r} is not one of {sorted(roster.nodes)}')
  node, private = roster.nodes[name], keys.read_private(folder, name)
  public = sealing.sealing_key if node.role == SERVER else sealing.verifying_key
  if tuple(map(public, private)) != node.keys:
    raise ValueError(
      f'the keys of node {name} in {folder} are not those of the roster: give '
      'all parties the roster that has them'
    )
  parties: dict[str, Client | Server] = {}
  for party, key in zip(node.parties, private, strict=True):
    if party.role == SERVER:
      parties[str(party)] = Server(
        party.number,
        study.rules,
        key,
        roster.verifying_keys,
        Ledger(folder / name / 'ledger'),
      )
    else:
      parties[str(party)] = Client(
        party.number,
        study.trainer,
        key,
        roster.sealing_keys,
        Memory(folder / name / f'shared_{party.number}'),
      )
  return parties


def make_app(parties: Mapping[str, Client | Server]) -> ClientApp:
  """Returns a Flower app that hands messages to parties."""
  app, lock = ClientApp(), threading.Lock()

  def answer(leg: str, message: Message, context: Context) -> Message:
    # Flower has commas for lists of numbers in what a user writes.
    numbers = [int(n) for n in str(context.node_config['numbers']).split(',')]
    claim = {'role': context.node_config['role'], 'numbers': numbers}
    # What a party checks and what it notes must not be of two messages.
    with lock:
      replies: dict[str, Reply] = {
        text: _answer(parties[text], leg, request)
        for text, request in unpack(message.content).items()
        if text in parties
      }
    return Message(pack({**replies, CLAIM: claim}), reply_to=message)

  def register(leg: str) -> None:
    category, action = MESSAGE_TYPE[leg].split('.')
    decorate = getattr(app, category)(action)
    decorate(lambda message, context: answer(leg, message, context))

  for leg in MESSAGE_TYPE:
    register(leg)
  return app


def _answer(party: Client | Server, leg: str, request: Request) -> Reply:
  """Returns a party's answer; what must not happen is a refusal, and logged."""
  begin = time.monotonic()
  try:
    reply = party.answer(leg, request)
  except Exception:
    logging.exception('leg %s', leg)
    return {'refusal': 'an error of its own, which its log has'}
  what = reply.get('refusal', f'{time.monotonic() - begin:.2f} s')
  logging.info('round %s, leg %s: %s', request.get('round'), leg, what)
  return reply


def serve(app: ClientApp, address: str) -> None:
  """Runs an app on the messages of this process's SuperNode, for ever.

  Args:
    app: what answers.
    address: of the SuperNode's Runtime API.
  """
  client = _connect(address)
  request = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
  while True:
    task = client.AcquireTask(request)
    if task.HasField('task') and task.token:
      task_client = _connect(address, RuntimeTokenHttpInterceptor(task.token))
      # One of a run that has ended never gets its content, and waits for it.
      arguments = app, task_client
      threading.Thread(target=_run_task, args=arguments, daemon=True).start()
    else:
      time.sleep(_POLL_SECONDS)


def _connect(address: str, *more: Any) -> RuntimeHttpClient:
  return RuntimeHttpClient.from_server_address(
    server_address=address,
    insecure=True,
    root_certificates=None,
    interceptors=[
      RuntimeVersionHttpInterceptor(component_name='flwr-clientapp'),
      *more,
    ],
    retry_invoker=make_simple_http_retry_invoker(),
  )


def _run_task(app: ClientApp, client: RuntimeHttpClient) -> None:
  """Answers one message."""
  heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
  heartbeat.start()
  context, status = None, SubStatus.FAILED
  try:
    message, context, _, _ = pull_task_input(client)
    try:
      reply = app(message, context)
    except Exception as error:
      logging.exception('a message could not be answered')
      code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
      reply = Message(Error(code, type(error).__name__), reply_to=message)
    push_message(client, reply, context)
    status = SubStatus.COMPLETED
  except Exception:
    logging.exception('a message was lost')
  finally:
    # Of a task that is not ended Flower makes an answer of its own, later, and
    # takes it for that to another message.
    push_task_output(client, context, status, '')
    heartbeat.stop()
    client.close()


class _Time:
  """Time for Flower's loop, which has no setting for how often it asks."""

  def __init__(self, longest: float):
    self._longest = longest

  def sleep(self, seconds: float) -> None:
    """Sleeps, but not longer than is wanted."""
    time.sleep(min(seconds, self._longest))

  def __getattr__(self, name: str) -> Any:
    return getattr(time, name)


class PatientClient(FleetHttpClient):
  """Flower's client of a node, which may have been killed a moment ago."""

  def ActivateNode(  # noqa: N802
    self, request: ActivateNodeRequest
  ) -> ActivateNodeResponse:
    """Says that the node is here, until the SuperLink lets it be."""
    deadline = time.monotonic() + _LOST_SECONDS
    while True:
      try:
        return super().ActivateNode(request)
      except httpx.HTTPStatusError as error:
        if (
          error.response.status_code != httpx.codes.PRECONDITION_FAILED
          or time.monotonic() > deadline
        ):
          raise
      logging.warning(
        'the SuperLink has no node of this key, or one that was not told to '
        'end: asking again in %.0f s',
        _AGAIN_SECONDS,
      )
      time.sleep(_AGAIN_SECONDS)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m fps_jax.deploy.node',
    description='Runs a node of a deployment.',
  )
  add = parser.add_argument
  add('folder', type=pathlib.Path, help='of the deployment: its keys')
  add('name', help='of the node, as in the roster')
  add('superlink', help='HOST:PORT of the SuperLink')
  add('--port', type=int, default=9094, help='free here, of the node itself')
  add('--poll_seconds', type=float, default=3.0, help='between two questions')
  add('--data', help="the client's Dataset: FILE.npz or module:function")
  add('study', nargs='+', help='after --: the command line of the study')
  return parser.parse_args(argv)


def _load_data(reference: str | None) -> Any:
  """Returns a data set of a file or a function; None for None."""
  if reference is None:
    return None
  if reference.endswith('.npz'):
    return data.load(reference)
  return pkgutil.resolve_name(reference)()


def main(argv: Sequence[str]) -> None:
  """Runs a node, as a command line says without its program."""
  args = _parse(argv)
  logging.set_verbosity(logging.INFO)
  # It logs by itself, and every request.
  python_logging.getLogger('flwr').propagate = False
  command = read_command(args.study)
  study = Study(
    command.config, command.values.tfds_data_dir, _load_data(args.data)
  )
  # Before ledgers are read.
  lock = reserve(args.folder / args.name)
  parties = make_parties(args.folder, args.name, study)
  node = keys.Roster.read(args.folder).nodes[args.name]
  if args.data and len(node.numbers) > 1:
    raise ValueError(
      f'--data={args.data} is of one client: node {args.name} is {node.numbers}'
    )
  thread = threading.Thread(
    target=serve,
    args=(make_app(parties), f'127.0.0.1:{args.port}'),
    daemon=True,
  )
  thread.start()
  numbers = ','.join(map(str, node.numbers))
  start_client_internal.__dict__['time'] = _Time(args.poll_seconds)
  fleet_http_connection.__dict__['FleetHttpClient'] = PatientClient
  sys.argv = [
    'flower-supernode',
    f'--superlink={args.superlink}',
    f'--root-certificates={args.folder / "ca.crt"}',
    f'--auth-supernode-private-key={args.folder / args.name / "node.key"}',
    f'--node-config=role="{node.role}" numbers="{numbers}"',
    '--isolation=process',
    '--host=127.0.0.1',
    f'--port={args.port}',
  ]
  with lock:
    flower_supernode()


if __name__ == '__main__':
  main(sys.argv[1:])
