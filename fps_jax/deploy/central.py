"""The central server: a Flower ServerApp that runs a study between parties."""

import json
import logging as python_logging
import os
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

from absl import logging
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from ml_collections import ConfigDict

from fps_jax.config.variants import resolve_variants
from fps_jax.core import files
from fps_jax.deploy.gathering import deployed
from fps_jax.deploy.keys import Roster
from fps_jax.deploy.link import Link
from fps_jax.deploy.messages import Occasion
from fps_jax.deploy.sealing import RUN_BYTES
from fps_jax.deploy.study import OUTCOME, read_command
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import run_study
from fps_jax.jobs.study_run import StudyRun
from fps_jax.runs.simulation import Simulation

# In a run's folder: what tells it from all others, and how often it began.
OCCASION = 'occasion.json'
# In the work directory: seconds of the legs so far.
LEGS = 'legs.json'
# In which another node may come before the study begins.
_WAIT_SECONDS = 30.0

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
  """Runs a study; what it goes by is in the run config.

  `folder` is that of the deployment, `command` the command line of the study,
  with its `--workdir`, and `leg-seconds` in which a leg is to be answered.
  """
  # It logs by itself, and every request.
  python_logging.getLogger('flwr').propagate = False
  config = context.run_config
  folder = pathlib.Path(str(config['folder']))
  arguments = shlex.split(str(config['command']))
  outcome = folder / OUTCOME
  try:
    run(grid, folder, arguments, float(config['leg-seconds']))
  except Exception as error:
    outcome.write_text(str(error) or type(error).__name__)
    raise
  outcome.write_text('')


def run(
  grid: Grid, folder: pathlib.Path, arguments: Sequence[str], seconds: float
) -> None:
  """Runs a study between the parties of a grid.

  Args:
    grid: of Flower.
    folder: with the roster of the deployment.
    arguments: a command line of `launch.py`, with `--workdir`.
    seconds: in which a leg is to be answered.

  Raises:
    ValueError: if the roster does not fit the study.
    StudyError: as of a study.
  """
  command, roster = read_command(arguments), Roster.read(folder)
  values = command.values
  check_fits(command.config, roster)
  workdir = pathlib.Path(values.workdir)
  link = Link(grid, roster, seconds)
  link.wait(_WAIT_SECONDS)

  def deploy(each: StudyRun) -> Simulation:
    path = workdir / each.folder / OCCASION
    return deployed(each.simulation, lambda: _begin(path, each), link)

  options = Options(
    values.tfds_data_dir,
    overwrite=values.overwrite,
    tensorboard=values.tensorboard,
    resume_changed=values.resume_changed,
  )
  try:
    run_study(
      command.config,
      workdir,
      ['launch.py', *arguments],
      options,
      deploy=deploy,
    )
  finally:
    if workdir.is_dir():
      (workdir / LEGS).write_text(json.dumps(link.seconds))


def check_fits(config: ConfigDict, roster: Roster) -> None:
  """Raises ValueError unless a roster has the parties of a study."""
  clients, num_servers = sorted(roster.verifying_keys), len(roster.sealing_keys)
  for name, variant in resolve_variants(config).items():
    num_clients = variant.data.num_clients
    if clients != list(range(num_clients)):
      raise ValueError(
        f'the roster has clients {clients}, variant {name} has data.num_clients'
        f'={num_clients}, numbered from 0: make the roster anew, or change that'
      )
    if num_servers != variant.sharing.num_servers:
      raise ValueError(
        f'the roster has {num_servers} servers, variant {name} has '
        f'sharing.num_servers={variant.sharing.num_servers}'
      )


def _begin(path: pathlib.Path, run: StudyRun) -> Occasion:
  """Returns what a run is called that begins, or begins again."""
  known: dict[str, Any] = {'run': os.urandom(RUN_BYTES).hex(), 'start': 0}
  if path.exists():
    known = json.loads(files.read_text(path))
    known['start'] += 1
  files.write_text(path, json.dumps(known))
  logging.info('%s: start %d', run.title, known['start'])
  name = bytes.fromhex(known['run'])
  return Occasion(run.name, run.seed, name, known['start'])
