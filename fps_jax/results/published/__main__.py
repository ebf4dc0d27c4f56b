"""Adds a study's runs to the published rows, and writes what they come to."""

import argparse
import pathlib
from collections.abc import Sequence

from fps_jax.core import files
from fps_jax.results.published import lines, rows, tables

_README, _RESULTS = 'README.md', 'results'


def main(arguments: Sequence[str] | None = None) -> None:
  """Does what a command asks for; see `fps_jax.results.published`.

  Args:
    arguments: command line after the program name; None means `sys.argv`.

  Raises:
    SystemExit: if it cannot be done, with what to do.
  """
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    '--experiments',
    type=pathlib.Path,
    default=pathlib.Path('experiments'),
    help='folder of README.md and results/',
  )
  commands = parser.add_subparsers(dest='command', required=True)
  adding = commands.add_parser('add', help='add the runs of a work directory')
  adding.add_argument(
    'folder', type=pathlib.Path, help='the --workdir of what has finished'
  )
  adding.add_argument('--name', required=True, help='of the file of rows')
  commands.add_parser('write', help='write README.md anew')
  options = parser.parse_args(arguments)
  readme, results = (
    options.experiments / _README,
    options.experiments / _RESULTS,
  )
  try:
    if options.command == 'add':
      path = results / f'{options.name}.csv'
      is_benchmark = lines.is_of_benchmark(options.folder)
      add = lines.add if is_benchmark else rows.add
      print(f'{path}: {add(options.folder, path)} rows added')
    else:
      text = tables.update(files.read_text(readme), results)
      files.write_text(readme, text)
  except (OSError, ValueError) as error:
    raise SystemExit(str(error)) from error


if __name__ == '__main__':
  main()
