"""How the package is laid out: what each part may be at most."""

import ast
import pathlib
from collections.abc import Iterator

_PACKAGE = pathlib.Path(__file__).parents[1] / 'fps_jax'
_MAX_LINES = 60
_MAX_PARAMETERS = 7
_MAX_FIELDS = 12
_MAX_FILE = 400


def _nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
  for path in sorted(_PACKAGE.rglob('*.py')):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, kinds):
        yield f'{path.relative_to(_PACKAGE)}: {node.name}', node


def _num_parameters(function: ast.FunctionDef) -> int:
  arguments = function.args
  every = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
  return sum(one.arg not in ('self', 'cls') for one in every)


def test_package_is_at_most_fourteen_folders_and_no_loose_module():
  """The last is `deploy`: nothing else imports it, or needs its packages."""
  entries = {
    path.name for path in _PACKAGE.iterdir() if path.name != '__pycache__'
  }
  assert {name for name in entries if '.' in name} == {
    '__init__.py',
    '__main__.py',
    'py.typed',
  }
  assert len(entries) - 3 <= 14


def test_no_file_is_longer_than_400_lines():
  assert not [
    path.name
    for path in _PACKAGE.rglob('*.py')
    if len(path.read_text().splitlines()) > _MAX_FILE
  ]


def test_no_function_is_longer_than_sixty_lines():
  assert not [
    name
    for name, node in _nodes(ast.FunctionDef)
    if node.end_lineno - node.lineno + 1 > _MAX_LINES
  ]


def test_no_function_has_more_than_seven_parameters():
  assert not [
    name
    for name, node in _nodes(ast.FunctionDef)
    if _num_parameters(node) > _MAX_PARAMETERS
  ]


def test_no_class_has_more_than_twelve_fields():
  assert not [
    name
    for name, node in _nodes(ast.ClassDef)
    if sum(isinstance(one, ast.AnnAssign) for one in node.body) > _MAX_FIELDS
  ]


def test_sharing_scheme_is_compared_to_no_name():
  """What differs between schemes is on their objects."""
  found = []
  for path in sorted(_PACKAGE.rglob('*.py')):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Compare):
        text = ast.unparse(node)
        if 'sharing.scheme' in text or text.startswith('scheme =='):
          found.append(f'{path.relative_to(_PACKAGE)}: {text}')
  assert not found


def test_no_two_files_of_tests_have_one_name():
  """Files in folders that are no packages are modules of their names."""
  names = [
    path.name for path in pathlib.Path(__file__).parent.rglob('*_test.py')
  ]
  assert len(names) == len(set(names))
