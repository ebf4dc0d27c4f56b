"""The documents: the map matches the tree, examples run, CI runs the rest."""

import pathlib
import re

_ROOT = pathlib.Path(__file__).parent.parent
_README = (_ROOT / 'README.md').read_text()


def _blocks(text, kind):
  return re.findall(rf'^```{kind}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def _files_on_the_map():
  folder, files = '', set()
  (block,) = _blocks(_README, 'text')
  for line in block.splitlines():
    name = line.split()[0]
    if name.endswith('/'):
      folder = name
    elif line.startswith(' '):
      files.add(folder + name)
    else:
      files.add(name)
  return files


def test_map_of_the_code_matches_the_tree():
  files = {
    str(path.relative_to(_ROOT))
    for path in (_ROOT / 'fps_jax').rglob('*.py')
    if path.name != '__init__.py'
  }
  assert _files_on_the_map() == files | {'launch.py'}


def test_python_example_of_the_readme_prints_what_it_says(capsys):
  (example,) = _blocks(_README, 'python')
  exec(compile(example, 'README.md', 'exec'), {})
  printed = capsys.readouterr().out.strip()
  assert example.rstrip().endswith(f'# {printed}')


def test_troubleshooting_quotes_messages_that_exist():
  source = ''.join(
    re.sub(r"'\s*\n\s*f?'", '', path.read_text())
    for path in (_ROOT / 'fps_jax').rglob('*.py')
  )
  table = (_ROOT / 'BUILD.md').read_text().split('## Troubleshooting')[1]
  messages = re.findall(r'^\| `(.*?)` \|', table, re.MULTILINE)
  assert len(messages) >= 5
  for message in messages:
    for part in re.split(r"'?\.\.\.'?|\[|\]|DIR| % ", message):
      assert part.strip() in source, part
