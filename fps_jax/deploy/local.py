"""All parties of a study as processes of this machine: a demonstration.

The SuperLink, the central server, each aggregation server and a few processes
of clients talk over TLS on 127.0.0.1, as they would between machines.
"""

import contextlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from fps_jax.deploy import keys
from fps_jax.deploy.messages import CLIENT, SERVER
from fps_jax.deploy.study import OUTCOME, Study, read_command

_HOST = '127.0.0.1'
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
# Of nodes that have the machine to themselves.
_POLL_SECONDS = 0.5
_LOOK_SECONDS = 0.5
# What Flower builds to start the central server: no code, which is installed.
_APP = """\
[project]
name = "fps-jax-deployment"
version = "1.0.0"
description = "The central server of a study of fps_jax."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fps_jax"

[tool.flwr.app.components]
serverapp = "fps_jax.deploy.central:app"
clientapp = "fps_jax.deploy.central:app"

[tool.flwr.app.config]
folder = ""
command = ""
leg-seconds = 120.0
"""


class Deployment:
  """Processes of one machine, and the folder with their keys and logs.

  Attributes:
    folder: of the deployment.
    processes: those that run, by name.
  """

  def __init__(self, folder: pathlib.Path, command: Sequence[str]):
    """Starts nothing yet.

    Args:
      folder: of the deployment; created if need be.
      command: the command line of the study, with its `--workdir`.
    """
    self.folder, self._command = folder, list(command)
    self.processes: dict[str, subprocess.Popen[str]] = {}
    self._ports: dict[str, int] = {}
    self._ending: list[subprocess.Popen[str]] = []

  @property
  def link_port(self) -> int:
    """Where the SuperLink is."""
    return self._port('link')

  def _port(self, name: str) -> int:
    """Returns a port, the same for a process that is started again."""
    if name not in self._ports:
      with socket.socket() as probe:
        probe.bind((_HOST, 0))
        self._ports[name] = probe.getsockname()[1]
    return self._ports[name]

  def make_keys(
    self, num_servers: int, clients: Sequence[Sequence[int]]
  ) -> None:
    """Makes all keys, certificates and files, or none, unless they are there.

    Args:
      num_servers: N.
      clients: numbers of the clients of each process.
    """
    if (self.folder / 'roster.json').exists():
      return
    part = self.folder.with_name(f'{self.folder.name}.part')
    if part.exists():
      shutil.rmtree(part)
    part.mkdir(parents=True, mode=0o700)
    nodes = {
      f'server_{n}': keys.make_node(part, f'server_{n}', SERVER, [n])
      for n in range(1, num_servers + 1)
    }
    for i, numbers in enumerate(clients):
      name = f'clients_{i}'
      nodes[name] = keys.make_node(part, name, CLIENT, numbers)
    keys.make_certificates(part, _HOST)
    (part / 'app').mkdir()
    (part / 'app' / 'pyproject.toml').write_text(_APP)
    keys.Roster(nodes).write(part)
    part.rename(self.folder)

  @property
  def nodes(self) -> list[str]:
    """Names of the nodes."""
    return list(keys.Roster.read(self.folder).nodes)

  def start_link(self) -> None:
    """Starts the SuperLink, and waits until it answers.

    Raises:
      ValueError: if it ends, or does not in time.
    """
    names = {'certfile': 'link.crt', 'keyfile': 'link.key'}
    self._start(
      'link',
      [
        'flower-superlink',
        f'--host={_HOST}',
        f'--port={self.link_port}',
        *(f'--ssl-{flag}={self.folder / names[flag]}' for flag in names),
        f'--ssl-ca-certfile={self.folder / "ca.crt"}',
        f'--database={self.folder / "state.db"}',
        '--enable-supernode-auth',
        '--disable-runtime-dependency-installation',
      ],
    )
    self._write_flower_config()
    self._wait_for('link')

  def register(self) -> None:
    """Tells the SuperLink the public keys of all nodes, once."""
    done = self.folder / 'registered'
    if done.exists():
      return
    for name in self.nodes:
      key = self.folder / name / 'node.key.pub'
      registered = subprocess.run(
        ['flwr', 'supernode', 'register', str(key), 'here'],
        env=self._environment(),
        capture_output=True,
        text=True,
        check=False,
      )
      if registered.returncode:
        said = registered.stderr or registered.stdout
        raise ValueError(f'node {name} was not registered: {said}')
    done.touch()

  def start_node(
    self, name: str, superlink: str | None = None, data: str | None = None
  ) -> None:
    """Starts a node; it looks for the SuperLink until it is there.

    Args:
      name: of the node.
      superlink: `HOST:PORT`; None for that of this machine.
      data: its client's own, as of a node's `--data`; None for the config's.
    """
    self._start(
      name,
      [
        sys.executable,
        '-m',
        'fps_jax.deploy.node',
        str(self.folder),
        name,
        superlink or f'{_HOST}:{self.link_port}',
        f'--port={self._port(name)}',
        f'--poll_seconds={_POLL_SECONDS}',
        *([f'--data={data}'] if data else []),
        '--',
        *self._command,
      ],
    )

  def run(self, leg_seconds: float = 120.0) -> None:
    """Starts the central server, in the process `run` prints what it prints."""
    config = {
      'folder': str(self.folder),
      'command': shlex.join(self._command),
      'leg-seconds': leg_seconds,
    }
    # Strings of JSON are such of TOML.
    lines = [
      f'{name} = {json.dumps(value)}\n' for name, value in config.items()
    ]
    file = self.folder / 'run.toml'
    file.write_text(''.join(lines))
    self.log('run').unlink(missing_ok=True)
    app = str(self.folder / 'app')
    self._start(
      'run', ['flwr', 'run', app, 'here', '--stream', f'--run-config={file}']
    )

  def wait(self) -> None:
    """Waits for the study to end, and prints what the central server does."""
    with self.log('run').open() as log:
      while self.processes['run'].poll() is None:
        print(log.read(), end='', flush=True)
        time.sleep(_LOOK_SECONDS)
      print(log.read(), end='', flush=True)

  def stop(self, *names: str, kill: bool = False) -> None:
    """Stops processes, all if none is named; those of a name with their own."""
    # Nodes say goodbye to the SuperLink, which is the first that is started.
    for name in [*(names or self.processes)][::-1]:
      if name == 'link':
        self._wait_for_ends()
      process = self.processes.pop(name)
      _signal(process, signal.SIGKILL if kill else signal.SIGTERM)
      self._ending.append(process)
    self._wait_for_ends()

  def _wait_for_ends(self) -> None:
    """Waits for what has been told to end."""
    while self._ending:
      process = self._ending.pop()
      try:
        process.wait(_STOP_SECONDS)
      except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()

  def log(self, name: str) -> pathlib.Path:
    """Returns what a process prints to."""
    return self.folder / f'{name}.log'

  def _start(self, name: str, command: list[str]) -> None:
    with self.log(name).open('a') as log:
      self.processes[name] = self._popen(command, stdout=log, stderr=log)

  def _popen(self, command: list[str], **streams: Any) -> subprocess.Popen[str]:
    """Starts a process, and what it starts, as a group of its own."""
    return subprocess.Popen(
      command,
      env=self._environment(),
      stdin=subprocess.DEVNULL,
      start_new_session=True,
      **streams,
    )

  def _environment(self) -> Mapping[str, str]:
    path = f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
    return {
      **os.environ,
      'PATH': path,
      'FLWR_HOME': str(self.folder / 'flower'),
      'FLWR_TELEMETRY_ENABLED': '0',
      'FLWR_DISABLE_UPDATE_CHECK': '1',
      'FLWR_SUPEREXEC_TASK_POLL_INTERVAL': '0.2',
      'JAX_COMPILATION_CACHE_DIR': str(self.folder / 'compiled'),
    }

  def _write_flower_config(self) -> None:
    home = self.folder / 'flower'
    home.mkdir(exist_ok=True)
    (home / 'config.toml').write_text(
      '[superlink]\ndefault = "here"\n\n[superlink.here]\n'
      f'address = "{_HOST}:{self.link_port}"\n'
      f'root-certificates = "{self.folder / "ca.crt"}"\n'
    )

  def _wait_for(self, name: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
      with contextlib.suppress(OSError):
        socket.create_connection((_HOST, self._port(name)), 1).close()
        return
      if self.processes[name].poll() is not None:
        break
      time.sleep(0.1)
    raise ValueError(f'the process {name} did not start: see {self.log(name)}')


@contextlib.contextmanager
def started(deployment: Deployment) -> Iterator[Deployment]:
  """Starts the SuperLink and all nodes; stops what runs at the end."""
  # What has sessions of its own does not end with this process.
  numbers = signal.SIGTERM, signal.SIGINT
  before = [signal.signal(number, _end) for number in numbers]
  try:
    deployment.start_link()
    deployment.register()
    for name in deployment.nodes:
      deployment.start_node(name)
    yield deployment
  finally:
    deployment.stop()
    for number, handler in zip(numbers, before, strict=True):
      signal.signal(number, handler)


def run(
  arguments: Sequence[str], workdir: pathlib.Path, client_processes: int
) -> None:
  """Runs a study between parties of this machine.

  Keys, logs and Flower's state are beside the work directory, in
  `WORKDIR.parties`, which goes with it.

  Args:
    arguments: a command line of `launch.py`, without its program.
    workdir: of the study.
    client_processes: that hold the clients, at least 1.

  Raises:
    ValueError: if the study cannot be deployed, a process does not start, or
      the study fails; the message says where the log is.
  """
  if client_processes < 1:
    raise ValueError(
      f'--client_processes={client_processes} must be at least 1'
    )
  command = [*arguments, f'--workdir={workdir.absolute()}']
  study = read_command(command)
  for name, reason in study.left_out.items():
    print(f'{name} is left out: {reason}')
  party = Study(study.config, study.values.tfds_data_dir)
  for name, variant in party.variants.items():
    # What does not fit is said before anything is started.
    party.trainer(name, variant.seeds[0])
  folder = workdir.absolute().with_name(f'{workdir.name}.parties')
  if study.values.overwrite and folder.exists():
    shutil.rmtree(folder)
  numbers = range(variant.data.num_clients)
  deployment = Deployment(folder, command)
  deployment.make_keys(
    variant.sharing.num_servers,
    [numbers[i::client_processes] for i in range(client_processes)],
  )
  print(f'Keys and logs of all parties are in {folder}')
  outcome = folder / OUTCOME
  outcome.unlink(missing_ok=True)
  with started(deployment):
    deployment.run()
    deployment.wait()
  if not outcome.exists() or outcome.read_text():
    said = outcome.read_text() if outcome.exists() else 'the study did not end'
    raise ValueError(f'{said} (logs: {folder})')


def _end(number: int, frame: Any) -> NoReturn:
  """Ends this process as an exception does."""
  del frame
  sys.exit(128 + number)


def _signal(process: subprocess.Popen[str], number: int) -> None:
  """Signals a process that this one started, and its group."""
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, number)
