"""What launch.py's command line says of a config, and mistakes in a line.

A tuple has to be written as one, because a lone number would be read as a tuple
of it where a count was meant, and `None` is the value of a field that is not
set.
"""

import ast
import os
import re
import traceback
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_flags import tuple_parser

from fps_jax.config import checks

# What a wrong command line, or a field that there is not, raises.
_MISTAKES = (flags.Error, AttributeError, KeyError, OSError, ValueError)


class TupleParser(tuple_parser.TupleParser):
  """Takes `(1, 2)`, `[1, 2]`, `1,2`, `1,` and words: `nnm,bucketing`."""

  def parse(self, argument: Any) -> Any:
    """Returns a tuple; of a field's default, what it is.

    Raises:
      ValueError: if the text is not that of a tuple.
    """
    if not isinstance(argument, str):
      return super().parse(argument)
    try:
      value = ast.literal_eval(argument)
    except (ValueError, SyntaxError):
      value = argument
      if ',' in argument and not set(argument) & set('()[]\'"'):
        value = [word.strip() for word in argument.split(',')]
        value = value[:-1] if not value[-1] else value
    if not isinstance(value, (tuple, list)):
      raise ValueError(
        f'must be a tuple: write "{argument}," or "({value!r},)" for the one '
        f'entry {argument}'
      )
    return tuple(value)


class OrNone(flags.ArgumentParser):
  """Takes `None`, besides what another parser does."""

  def __init__(self, parser: flags.ArgumentParser):
    """Takes the other parser."""
    self._parser = parser
    self.syntactic_help = parser.syntactic_help

  def parse(self, argument: Any) -> Any:
    """Returns None, or what the other parser makes of it."""
    return None if argument == 'None' else self._parser.parse(argument)

  def flag_type(self) -> str:
    """Returns the name of the type."""
    return self._parser.flag_type()


def register_parsers() -> None:
  """Has overrides of config fields parsed so, from now on."""
  config_flags.register_flag_parser_for_type(tuple, TupleParser())
  for kind, parser in (
    (float, flags.FloatParser()),
    (int, flags.IntegerParser()),
    (bool, flags.BooleanParser()),
  ):
    config_flags.register_flag_parser_for_type(kind, OrNone(parser))


def check_is_config(value: Any) -> None:
  """Checks what a config file returns.

  Raises:
    ValueError: if it is no config.
  """
  if not isinstance(value, ConfigDict):
    raise ValueError(
      f'get_config() returns {checks.show(value)}, not a ConfigDict: begin '
      'with fps_jax.config.defaults.default(), and return it'
    )


def explain(error: Exception, argv: Sequence[str]) -> str | None:
  """Returns what is wrong with the command line, or in a config file: a line.

  Args:
    error: raised as flags were parsed, which loads the file.
    argv: the command line.

  Returns:
    None if it is neither: a mistake of this package.
  """
  path, arguments = _config_file(argv)
  raised, own = (
    error.__context__,
    getattr(error.__context__, '__context__', None),
  )
  if isinstance(raised, TypeError) and isinstance(own, ValueError):
    # ml_collections could not raise the file's own error once more.
    error = own
  trace = ''.join(traceback.format_exception(error))
  files = '|'.join({re.escape(path), re.escape(os.path.abspath(path))})
  numbers = re.findall(rf'File "(?:{files})", line (\d+)', trace)
  if not numbers and not isinstance(error, (*_MISTAKES, SyntaxError)):
    return None
  message = _message(error, path, arguments)
  if path and numbers:
    return f'{path}, line {numbers[-1]}: {message}'
  of_file = isinstance(error, SyntaxError) or 'get_config()' in message
  return f'{path}: {message}' if of_file else message


def _message(error: Exception, path: str, arguments: str) -> str:
  if isinstance(error, KeyError) or (
    isinstance(error, AttributeError)
    and any(isinstance(cause, KeyError) for cause in error.args)
  ):
    return (
      f'the config has no field {_field(error)} (see fps_jax/config/sections)'
    )
  text = ' '.join(str(error).split())
  if isinstance(error, AttributeError) and "'config_config'" in text:
    return 'there is no function get_config(), which is to return a config'
  if 'get_config() takes' in text:
    return f'get_config() takes no such arguments: leave out ":{arguments}"'
  if isinstance(error, (AttributeError, OSError)):
    return text
  if not isinstance(error, _MISTAKES):
    # Python's own message names its internal file as the place, too.
    text = error.msg if isinstance(error, SyntaxError) else text
    return f'{type(error).__name__}: {text}'
  # Of an error inside a config file, the last line says what is wrong.
  message = str(error).strip().splitlines()[-1].strip()
  seeds = re.search(r'--config\.seeds=(\d+): must be a tuple', message)
  if seeds:
    message += f'; for {seeds[1]} seeds, give --config={path}:seeds={seeds[1]}'
  return message


def _field(error: Exception) -> str:
  """Returns the name that `ml_collections` does not know, and the nearest."""
  # It quotes the name, and its hint, several times over.
  text = re.sub(r'[\\\'"]', '', str(error).replace('\\n', '; '))
  # Of one that is set, it shows the whole section.
  return re.sub(r'Key (\S+) does not exist.*?(; Did you|$)', r'\1\2', text)


def _config_file(argv: Sequence[str]) -> tuple[str, str]:
  """Returns the file that --config names, and its arguments."""
  for argument, following in zip(argv, [*argv[1:], ''], strict=True):
    flag, _, value = argument.partition('=')
    if flag in ('--config', '-config'):
      path, _, arguments = (value or following).partition(':')
      return path, arguments
  return '', ''
