"""What library functions must refuse: made from arguments that they take."""

import dataclasses
import enum
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest


class Case(NamedTuple):
  """A public function, and arguments that fit it.

  Attributes:
    function: what is called.
    arguments: by name; those that are arrays are varied.
    wrong: other values of an argument, each out of range.
    any_rank: arguments of any rank.
    free: arguments of which no axis has to be as long as it is.
    any_type: arguments that are not varied: of several types, or not read.
    names: what the error calls an argument, where it is not its own name.
    is_traceable: whether it is held to the same while a program is traced.
  """

  function: Callable[..., Any]
  arguments: Mapping[str, Any]
  wrong: Mapping[str, tuple[Any, ...]] = {}
  any_rank: tuple[str, ...] = ()
  free: tuple[str, ...] = ()
  any_type: tuple[str, ...] = ()
  names: Mapping[str, str] = {}
  is_traceable: bool = True


def public_names(package: ModuleType) -> set[str]:
  """Returns all public functions, classes and methods of a package.

  Classes that only hold what they are given, protocols, and modules that are
  called `reference`, which only tests read, are left out.
  """
  names = set()
  infos = pkgutil.walk_packages(package.__path__, f'{package.__name__}.')
  modules = [package, *(importlib.import_module(i.name) for i in infos)]
  for module in modules:
    short = '' if module is package else module.__name__.rpartition('.')[2]
    if short == 'reference':
      continue
    prefix = f'{short}.' if short else ''
    for name, value in vars(module).items():
      if name.startswith('_') or inspect.ismodule(value):
        continue
      if getattr(value, '__module__', None) != module.__name__:
        continue
      if inspect.isfunction(value):
        names.add(prefix + name)
      elif inspect.isclass(value) and not _only_holds(value):
        names |= {f'{prefix}{name}{rest}' for rest in _methods(value)}
  return names


def _only_holds(cls: type) -> bool:
  is_protocol = getattr(cls, '_is_protocol', False)
  return is_protocol or issubclass(cls, (tuple, enum.Enum, Exception))


def _methods(cls: type) -> Iterator[str]:
  if dataclasses.is_dataclass(cls) or '__init__' in vars(cls):
    yield ''
  for name, value in vars(cls).items():
    is_method = inspect.isfunction(value) or isinstance(value, classmethod)
    if is_method and not name.startswith('_'):
      yield f'.{name}'


def variations(case: Case) -> Iterator[tuple[str, str, Any]]:
  """Yields (argument, what is wrong, value) of arguments that do not fit."""
  for name, value in case.arguments.items():
    is_array = isinstance(value, (np.ndarray, np.generic))
    if not is_array or name in case.any_type:
      continue
    for dtype in (np.float32, np.float64, np.uint32, np.int64, np.bool):
      # Of a number, any type of integers will do.
      is_integer = not value.ndim and np.issubdtype(dtype, np.integer)
      if dtype != value.dtype and not is_integer:
        yield name, f'{np.dtype(dtype)}', value.astype(dtype)
    if value.ndim:
      yield name, 'a list', value.tolist()
    if name in case.any_rank:
      continue
    yield name, 'an axis more', value[None]
    if value.ndim:
      yield name, 'an axis less', value[0]
      if name not in case.free:
        longer = np.concatenate([value, value[:1]])
        yield name, 'an entry more', longer


def check(case: Case) -> None:
  """Checks that arguments are taken, and that none is in another form.

  Where a function can be traced, types and shapes are checked so: nothing is
  compiled.
  """
  call = case.function
  if case.is_traceable:
    every = {
      name: value
      for name, value in case.arguments.items()
      if isinstance(value, np.ndarray)
    }
    jax.eval_shape(_traced(case), every)
  else:
    call(**case.arguments)
  for name, what, value in variations(case):
    called = case.names.get(name, name)
    with pytest.raises(ValueError, match=rf'\b{called}\b'):
      call(**{**case.arguments, name: value})
      pytest.fail(f'{name} was {what}')
    if case.is_traceable and not isinstance(value, list):
      with (
        jax.enable_x64(True),
        pytest.raises(ValueError, match=rf'\b{called}\b'),
      ):
        jax.eval_shape(_traced(case), {name: value})
        pytest.fail(f'{name} was {what}, traced')
  for name, values in case.wrong.items():
    called = case.names.get(name, name)
    for value in values:
      with pytest.raises(ValueError, match=rf'\b{called}\b'):
        call(**{**case.arguments, name: value})
        pytest.fail(f'{name} was {value}')


def _traced(case: Case) -> Callable[[dict[str, Any]], None]:
  """Returns the call with the arguments that it is given traced."""

  def call(given: dict[str, Any]) -> None:
    case.function(**{**case.arguments, **given})

  return call
