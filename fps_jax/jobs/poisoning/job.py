"""The job `poisoning`: every attack against every defence.

A study whose variants are named `ATTACK--DEFENCE`, with a table of accuracies
and one of what each defence lets the central server see.
"""

import itertools
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from fps_jax.core import files
from fps_jax.jobs import study
from fps_jax.jobs.options import Options
from fps_jax.jobs.poisoning.results import PoisoningResult
from fps_jax.jobs.study import StudyError
from fps_jax.results import smoke
from fps_jax.results import workdir as workdirs
from fps_jax.results.summary import collect
from fps_jax.results.tables import make_console
from fps_jax.results.titles import SEPARATOR

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
    workdir: of no study, or of the same config.
    argv: see `fps_jax.jobs.run.Job`.
    options: likewise.

  Raises:
    StudyError: as `study.run_study`, and if a pair is missing.
  """
  workdir, console = pathlib.Path(workdir), make_console()
  names = list(config.variants)
  _check_names(names)
  study.run_study(config, workdir, argv, options, console)
  found = list(map(PoisoningResult.of, collect(workdir, names).values()))
  # Matplotlib comes with it: not before the runs, which leave it the memory.
  from fps_jax.jobs.poisoning import report

  workdirs.write_json(
    workdir / 'poisoning.json', [result.to_json() for result in found]
  )
  notice = smoke.read(workdir)
  page = smoke.above(notice, report.markdown(found))
  files.write_text(workdir / 'poisoning.md', page)
  report.write_figure(found, workdir / 'poisoning.png')
  console.print(report.table(found))
  if notice:
    console.print(notice)


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
  attacks, rules = map(dict.fromkeys, zip(*pairs, strict=True))
  missing = [
    SEPARATOR.join(pair)
    for pair in itertools.product(attacks, rules)
    if pair not in pairs
  ]
  if missing:
    raise StudyError(
      f'poisoning: variants {missing} are missing: every attack meets every '
      'defence'
    )
