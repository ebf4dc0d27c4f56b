"""The job `poisoning`: every attack against every defence.

A study whose variants are named `ATTACK--DEFENCE`, with a table of accuracies
and one of what each defence lets the central server see.
"""

import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict
from rich.console import Console

from fps_jax.core import files
from fps_jax.jobs import study
from fps_jax.jobs.options import Options
from fps_jax.jobs.poisoning.results import SEPARATOR, PoisoningResult
from fps_jax.jobs.study import StudyError
from fps_jax.results import workdir as workdirs
from fps_jax.results.summary import collect

_DEFAULTS = Options()


def run(
  config: ConfigDict,
  workdir: str | pathlib.Path,
  argv: Sequence[str],
  options: Options = _DEFAULTS,
) -> None:
  """Runs the study and writes `poisoning.json`, `.md` and `.png` beside it.

  Args:
    config: of a study whose variants are named `ATTACK--DEFENCE`, one for each
      of all pairs.
    workdir: created if need be; empty, or of the same config.
    argv: the command line, for the record.
    options: of the command line.

  Raises:
    StudyError: as `study.run_study`, and if a pair is missing.
  """
  workdir, console = pathlib.Path(workdir), Console()
  names = list(config.variants)
  _check_names(names)
  study.run_study(config, workdir, argv, options, console)
  found = list(map(PoisoningResult.of, collect(workdir, names).values()))
  from fps_jax.jobs.poisoning import report as poisoning_report

  workdirs.write_json(
    workdir / 'poisoning.json', [result.to_json() for result in found]
  )
  page = poisoning_report.markdown(found)
  files.write_text(workdir / 'poisoning.md', page)
  poisoning_report.write_figure(found, workdir / 'poisoning.png')
  console.print(poisoning_report.table(found))


def _check_names(names: Sequence[str]) -> None:
  """Raises StudyError unless the variants are all pairs."""
  pairs = [tuple(name.split(SEPARATOR)) for name in names]
  wrong = [
    name for name, pair in zip(names, pairs, strict=True) if len(pair) != 2
  ]
  if wrong or not names:
    raise StudyError(
      f'poisoning: variants {wrong or names} must be named '
      f'ATTACK{SEPARATOR}DEFENCE: see experiments/poisoning.py'
    )
  attacks = dict.fromkeys(pair[0] for pair in pairs)
  rules = dict.fromkeys(pair[1] for pair in pairs)
  missing = [
    f'{attack}{SEPARATOR}{rule}'
    for attack in attacks
    for rule in rules
    if (attack, rule) not in pairs
  ]
  if missing:
    raise StudyError(
      f'poisoning: variants {missing} are missing: every attack meets every '
      'defence'
    )
