"""The configs that come with the package, by their names.

In a checkout they are the files of `experiments/`, beside the package; an
installed package has them as `fps_jax_experiments`.
"""

import pathlib

from fps_jax.core.nearest import nearest

_PARENT = pathlib.Path(__file__).resolve().parents[2]
_FOLDERS = ('experiments', 'fps_jax_experiments')


def folder() -> pathlib.Path:
  """Returns where their files are; a folder that is not there without any."""
  folders = [_PARENT / name for name in _FOLDERS]
  # Anything may be called so beside an installed package: ours has this one.
  return next(
    (one for one in folders if (one / 'mnist.py').is_file()), folders[1]
  )


def names() -> list[str]:
  """Returns what may stand for a file: `mnist` for `experiments/mnist.py`."""
  return sorted(path.stem for path in folder().glob('*.py'))


def find(given: str) -> str:
  """Returns the path of a config file, with its arguments if it has any.

  Args:
    given: a name or a path, and arguments after a colon: `mnist:tiny`. The
      path `experiments/NAME.py` stands for the name where there is no such
      file.

  Raises:
    ValueError: if there is no such file.
  """
  path, colon, arguments = given.partition(':')
  own = folder() / f'{pathlib.Path(path).stem}.py'
  is_name = path in names()
  if not is_name and pathlib.Path(path).is_file():
    return given
  as_in_a_checkout = pathlib.Path('experiments', own.name)
  if is_name or (pathlib.Path(path) == as_in_a_checkout and own.is_file()):
    return f'{own}{colon}{arguments}'
  if not path:
    raise ValueError(f'--config={given} names no file: {_choices()}')
  if pathlib.Path(path).is_dir():
    raise ValueError(f'--config={path} is a folder: name a file in it')
  close = nearest(pathlib.Path(path).stem, names())
  near = f', did you mean {close}?' if close else ''
  what = 'no such file' if _is_path(path) else 'no such config'
  raise ValueError(f'--config={path}: {what}{near}; {_choices()}')


def _is_path(given: str) -> bool:
  return given.endswith('.py') or '/' in given


def _choices() -> str:
  return f'give a file, FILE.py, or one of {", ".join(names())}'
