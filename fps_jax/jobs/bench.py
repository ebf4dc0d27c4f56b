"""What jobs that measure something do alike, from the checks to the last line.

Such a job goes on with nothing: it writes to a work directory of its own.
"""

import contextlib
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

from fps_jax.core import files
from fps_jax.jobs.options import Options
from fps_jax.jobs.study import StudyError
from fps_jax.results import smoke
from fps_jax.results import workdir as workdirs
from fps_jax.results.tables import Table, make_console, page


@contextlib.contextmanager
def refusing(prefix: str = '') -> Iterator[None]:
  """Has a ValueError or OSError raised as the StudyError that a user sees."""
  try:
    yield
  except (ValueError, OSError) as error:
    raise StudyError(f'{prefix}{error}') from error


def own_section(config: ConfigDict, job: str) -> ConfigDict:
  """Returns a config's section that is named like its job.

  Raises:
    ValueError: if it has none.
  """
  if job not in config:
    raise ValueError(
      f'the config has no section {job!r}: begin with fps_jax.jobs.{job}.job.'
      'default()'
    )
  return config[job]


class Bench:
  """The work directory and the terminal of such a job."""

  def __init__(
    self,
    workdir: str | pathlib.Path,
    options: Options,
    without: str = 'this job has none',
  ):
    """Refuses the options of studies; `without` says what the job has.

    Raises:
      StudyError: if any was given.
    """
    self.workdir = pathlib.Path(workdir)
    self._console = make_console()
    self._prints_json = options.prints_json
    self._notice = ''
    if options.of_studies:
      raise StudyError(f'{options.of_studies} are for studies: {without}')

  @contextlib.contextmanager
  def checking(self, config: ConfigDict, prefix: str = '') -> Iterator[None]:
    """Checks the config inside; writes it to the work directory afterwards.

    Raises:
      StudyError: if a check raised ValueError or OSError, which it names after
        the prefix, or the work directory is not empty.
    """
    with refusing(prefix):
      yield
      workdirs.create(self.workdir)
      self._notice = smoke.notice(config)
      self._write('config.json', json.loads(config.to_json()))
    if self._notice:
      self.say(self._notice)

  def record(self, environment: dict[str, Any]) -> None:
    """Writes what was measured on: see `core.environment`."""
    self._write('environment.json', environment)

  def say(self, line: str) -> None:
    """Prints what was just measured."""
    self._console.print(line, highlight=False)

  def finish(
    self,
    results: dict[str, Any],
    blocks: Iterable[Table | str],
    last: dict[str, Any] | None = None,
  ) -> None:
    """Writes `results.json` and, of the blocks, `report.md`; prints the tables.

    Asked for JSON, the last line of output is an object of it: `last`, else the
    results.
    """
    self._write('results.json', results)
    blocks = list(blocks)
    written = smoke.above(self._notice, page(*blocks))
    files.write_text(self.workdir / 'report.md', written)
    for block in blocks:
      if isinstance(block, Table):
        self._console.print(block.terminal())
    if self._notice:
      self.say(self._notice)
    self._console.print(
      f'Results are in {self.workdir}', soft_wrap=True, highlight=False
    )
    if self._prints_json:
      print(json.dumps(last or results))

  def _write(self, name: str, content: dict[str, Any]) -> None:
    workdirs.write_json(self.workdir / name, content)
