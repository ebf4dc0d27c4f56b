"""The site: sphinx-build -W docs DIR (see BUILD.md)."""

import pathlib
import re

import sphinx.application

import fps_jax
from fps_jax.config.sections import SECTIONS

project = 'fps_jax'
author = 'The fps_jax authors'
html_show_copyright = False
release = version = fps_jax.__version__
extensions = ['myst_nb']
html_theme = 'furo'
html_title = f'fps_jax {release}'
exclude_patterns = ['pictures']
myst_heading_anchors = 3
# Notebooks are run anew each time; one that fails stops the build.
nb_execution_mode = 'force'
nb_execution_timeout = 600
nb_execution_raise_on_error = True

_ROOT = pathlib.Path(__file__).parents[1]
# Pages of the site that are files of the repository.
_FILES = {
  'index': 'README.md',
  'building': 'BUILD.md',
  'changelog': 'CHANGELOG.md',
  'contributing': 'CONTRIBUTING.md',
  'experiments': 'experiments/README.md',
}


def _settings() -> str:
  """Returns every setting, a section after the other."""
  lines = []
  for section in SECTIONS.values():
    lines += [f'\n## {section.name or "The study"}\n']
    for name, field in section.fields.items():
      unset = isinstance(field.default, type)
      default = 'None' if unset else repr(field.default)
      about = f': {field.about}' if field.about else ''
      lines.append(f'- `{section.path(name)}` = `{default}`{about}')
  return '\n'.join(lines)


def _page_of(target: str, folder: pathlib.PurePosixPath) -> str:
  """Returns where on the site a link of a file in a folder leads."""
  path, separator, anchor = target.partition('#')
  place = (_ROOT / folder / path).resolve().relative_to(_ROOT).as_posix()
  pages = {file: f'{page}.md' for page, file in _FILES.items()}
  page = pages.get(place, place.removeprefix('docs/'))
  # Of files that are no pages, such as pictures: from the folder of the site.
  return (page if page != place else f'../{place}') + separator + anchor


def _read(app: sphinx.application.Sphinx, name: str, source: list[str]) -> None:
  """Replaces a page by the file that it stands for, links by the site's."""
  text, folder = source[0], pathlib.PurePosixPath('docs')
  if name.startswith('notebooks/'):
    return
  if name == 'settings':
    source[0] = text.split('<!-- list -->')[0] + _settings()
    return
  if name in _FILES:
    path = pathlib.PurePosixPath(_FILES[name])
    folder, whole = path.parent, (_ROOT / path).read_text('utf-8')
    app.env.note_dependency(str(_ROOT / path))
    if name == 'index':
      part = whole.split('<!-- begin -->')[1].split('<!-- end -->')[0]
      text = text.replace('<!-- README -->', part)
    else:
      text = whole
  source[0] = re.sub(
    r'\]\((?!https?:|#)([^)]+)\)',
    lambda link: f']({_page_of(link[1], folder)})',
    text,
  )


def setup(app: sphinx.application.Sphinx) -> None:
  """Is called by Sphinx."""
  app.connect('source-read', _read)
