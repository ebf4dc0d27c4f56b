"""Starts several processes that do a study together, on this machine."""

import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def free_address() -> str:
  """Returns HOST:PORT of this machine that nobody listens at."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return f'localhost:{free.getsockname()[1]}'


def launch(*arguments: str, **environment: str) -> subprocess.Popen[str]:
  """Starts a process of a small study, which has one device."""
  return subprocess.Popen(
    [
      sys.executable,
      'launch.py',
      '--config=experiments/mnist.py:tiny,methods=fedpruneshare',
      *arguments,
    ],
    cwd=ROOT,
    env={**os.environ, 'JAX_NUM_CPU_DEVICES': '1', **environment},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def launch_all(
  num_processes: int, *arguments: str
) -> list[subprocess.Popen[str]]:
  """Starts the processes of a small study."""
  coordinator = free_address()
  return [
    launch(
      f'--coordinator={coordinator}',
      f'--num_processes={num_processes}',
      f'--process_id={process}',
      *arguments,
    )
    for process in range(num_processes)
  ]


def launch_slurm(
  num_processes: int, *arguments: str
) -> list[subprocess.Popen[str]]:
  """Starts them as tasks of a step of Slurm, which JAX finds by itself."""
  # JAX's port is the job's.
  job = str(int(free_address().split(':')[1]))
  return [
    launch(
      '--distributed',
      *arguments,
      SLURM_JOB_ID=job,
      SLURM_STEP_NODELIST='localhost',
      SLURM_NTASKS=str(num_processes),
      SLURM_PROCID=str(process),
      SLURM_LOCALID=str(process),
    )
    for process in range(num_processes)
  ]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
  """Returns how a process ended, and what it said of that."""
  _, said = process.communicate(timeout=200)
  # A busy machine may have one wait for the other, which it says.
  lines = [
    line
    for line in said.splitlines(keepends=True)
    if not line.startswith(('waiting for ', 'warning: '))
  ]
  return process.returncode, ''.join(lines)
