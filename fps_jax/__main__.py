"""The command line: `fps-jax`, `python -m fps_jax` and `launch.py`."""

import pathlib
import sys

from fps_jax.core import interruption


def main() -> None:
  """Does what the command line asks for, and ends the process if it fails."""
  # Importing JAX takes seconds, in which Ctrl-C is to end it in a line.
  stopping = interruption.Interruption()
  stopping.advice = 'nothing has begun: give the same command again'
  stopping.install(interruption.Ending())
  from fps_jax.jobs import launch_flags

  if launch_flags.asks_for_help(sys.argv):
    print(launch_flags.help_text(_program()))
    return
  from fps_jax.jobs import launch

  launch.main()


def _program() -> str:
  """Returns how this program was called."""
  name = pathlib.Path(sys.argv[0]).name
  if name == '__main__.py':
    return 'python -m fps_jax'
  return f'python {name}' if name.endswith('.py') else name


if __name__ == '__main__':
  main()
