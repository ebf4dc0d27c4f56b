"""What a work directory says of its study: configs, code and environment."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from ml_collections import ConfigDict

from fps_jax.config.sections.model import initial_folder, initial_model
from fps_jax.core import files
from fps_jax.core.environment import code_of, describe_environment, user_code
from fps_jax.jobs.options import Options
from fps_jax.results import workdir as workdirs
from fps_jax.results.differences import NOT_SET, Field, compare
from fps_jax.runs import initial

_ENVIRONMENT = 'environment.json'
_SOURCE = 'source'
_NOT_RECORDED = (NOT_SET, 'null', 'None')


class Record(NamedTuple):
  """What a study begins or goes on with.

  Attributes:
    environment: see `fps_jax.core.environment.describe_environment`.
    code: the user's own files, as `core.environment.user_code` has them.
    changed: names of what is not as when the study began; of what
      `fps_jax.core.environment.code_of` returns.
    rounds_before: that the study was to have; None if it has as many now.
  """

  environment: dict[str, Any]
  code: dict[str, bytes]
  changed: tuple[str, ...] = ()
  rounds_before: int | None = None

  @classmethod
  def now(
    cls,
    workdir: pathlib.Path,
    argv: Sequence[str],
    options: Options,
    variants: Mapping[str, ConfigDict] = MappingProxyType({}),
  ) -> Self:
    """Describes this process, and compares it with what a study began with.

    Args:
      workdir: of the study, or of none yet; held by this process.
      argv: the command line.
      options: of the command line.
      variants: whose runs may begin with models of others.

    Raises:
      ValueError: if the code or such a model has changed since the study's
        first run began, unless the options let it; or if what it began with
        cannot be read.
      OSError: if a file cannot be read.
    """
    code = user_code(options.config_file)
    environment = describe_environment(argv, code)
    if models := initial_models(variants):
      environment['initial_models'] = models
    if options.overwrite or not _has_begun(workdir):
      return cls(environment, code)
    first = _read(workdir / _ENVIRONMENT)
    began, now = code_of(first), code_of(environment)
    if own := now.get('initial_models'):
      # One run of the study, in a process of its own, has its own alone.
      there = began.get('initial_models', {})
      began['initial_models'] = {name: there.get(name) for name in own}
    fields = [field for field in compare([began, now]) if field.differs]
    if fields and not options.resume_changed:
      commits = [str(each.get('git_commit')) for each in (first, environment)]
      if fields[0].name == 'code_sha256':
        fields.insert(1, Field('git_commit', commits))
      raise ValueError(_refusal(workdir, fields))
    return cls(environment, code, tuple(field.name for field in fields))

  def write(
    self,
    workdir: pathlib.Path,
    config: ConfigDict,
    variants: Mapping[str, ConfigDict],
  ) -> None:
    """Writes what the study is and runs on, or adds what it goes on with.

    Raises:
      ValueError: if what it began with cannot be read.
      OSError: if a file cannot be read or written.
    """
    environment, source = self.environment, workdir / _SOURCE
    copied, whole = self.code, json.loads(config.to_json())
    if not _has_begun(workdir):
      # Of a study's files the first: what tells that it is one.
      workdirs.write_json(workdir / 'config.json', whole)
    else:
      environment = _read(workdir / _ENVIRONMENT)
      resumed = environment.setdefault('resumed', [])
      resumed.append({**self.environment, 'changed': list(self.changed)})
      if self.rounds_before is not None:
        resumed[-1]['num_rounds'] = [self.rounds_before, whole['num_rounds']]
      source /= f'resumed_{len(resumed)}'
      copied = self.code if self.changed else {}
    for name, content in copied.items():
      with files.naming(source, problem='cannot be written to'):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    workdirs.write_json(workdir / _ENVIRONMENT, environment)
    workdirs.write_json(workdir / 'config.json', whole)
    for name, variant in variants.items():
      workdirs.write_json(
        workdir / name / 'config.json', json.loads(variant.to_json())
      )


def initial_models(variants: Mapping[str, ConfigDict]) -> dict[str, str]:
  """Returns the SHA-256 of the models of others that runs begin with.

  Raises:
    ValueError: if one cannot be read.
  """
  found = {}
  for variant in variants.values():
    for seed in variant.seeds:
      params_D = initial_model(variant, seed)
      if params_D is not None:
        folder = initial_folder(variant, seed)
        name = f'{variant.model.init_model} of {folder}'
        found[name] = initial.digest(params_D)
  return found


def _has_begun(workdir: pathlib.Path) -> bool:
  """Returns whether a run of the study has."""
  return any(workdir.glob('*/seed_*/'))


def _read(path: pathlib.Path) -> dict[str, Any]:
  """Returns what a study began with; nothing of it where there is no file."""
  try:
    content = json.loads(files.read_text(path)) if path.exists() else {}
    if not isinstance(content, dict):
      raise ValueError('no object')
    if not isinstance(content.setdefault('resumed', []), list):
      raise ValueError('resumed is no list')
  except ValueError as error:
    raise ValueError(
      f'{path} is damaged ({error}): remove it, and go on with '
      '--resume_changed, without a record of where the study began'
    ) from error
  return content


def _refusal(workdir: pathlib.Path, fields: Sequence[Field]) -> str:
  kind = 'holds a study of other code'
  if all(field.name.startswith('initial_models.') for field in fields):
    kind = 'holds a study that began with another model (model.init_from)'
  lines = [
    f'work directory {workdir} {kind}: undo the change, '
    'give another --workdir, --overwrite, or go on all the same with '
    f'--resume_changed, which {_ENVIRONMENT} will say'
  ]
  for field in fields:
    there, now = (
      'not recorded' if value in _NOT_RECORDED else value[:16]
      for value in field.values
    )
    lines.append(f'  {field.name}: {there} there, {now} now')
  return '\n'.join(lines)
