"""The documents: the map matches the tree, examples run, CI runs the rest."""

import ast
import contextlib
import pathlib
import re
import shlex
from unittest import mock

import pytest
from absl import flags
from ml_collections import config_flags

import fps_jax
from fps_jax import data, defences, models
from fps_jax.attacks import data as data_attacks
from fps_jax.attacks import updates
from fps_jax.config import defaults
from fps_jax.config.validate import validate
from fps_jax.federated import (
  augmentation,
  learning_rates,
  losses,
  optimizers,
  server,
)
from fps_jax.jobs import run as jobs
from fps_jax.jobs.study import StudyError
from fps_jax.pruning import schedules, scopes
from fps_jax.results import figures
from fps_jax.runs import hooks
from fps_jax.runs.costs import profiles
from tests.helpers import small

_ROOT = pathlib.Path(__file__).parent.parent
_README = (_ROOT / 'README.md').read_text()
_DOCUMENTS = sorted([*_ROOT.glob('*.md'), *_ROOT.glob('*/*.md')])
_TUTORIAL = (_ROOT / 'docs' / 'tutorial.md').read_text()
# The dictionaries that the tutorial adds to, and a name that each has.
_REGISTRIES = {
  'attack.data': (data_attacks.DATA_ATTACKS, 'label_flip'),
  'attack.updates': (updates.UPDATE_ATTACKS, 'scaling'),
  'client.augmentation': (augmentation.AUGMENTATIONS, 'crop_flip'),
  'client.optimizer': (optimizers.OPTIMIZERS, 'adam'),
  'client.schedule': (learning_rates.SCHEDULES, 'cosine'),
  'data.partition': (data.PARTITIONERS, 'iid'),
  'data.source': (data.SOURCES, 'fake'),
  'defence.name': (defences.GRAM_RULES, 'mean'),
  'model.loss': (losses.LOSSES, 'label_smoothing'),
  'model.name': (models.MODELS, 'mlp'),
  'profiles.distribution': (profiles.DISTRIBUTIONS, 'lognormal'),
  'pruning.schedule': (schedules.SCHEDULES, 'cubic'),
  'pruning.scope': (scopes.SCOPES, 'layer_normalised'),
  'server.optimizer': (server.OPTIMIZERS, 'adam'),
}
# What documents say and everyday language does not.
_JARGON = (
  'aggregation server',
  'audit',
  'backdoor',
  'central server',
  'clip',
  'cohort',
  'defence',
  'dense server',
  'fedavg',
  'field',
  'gram matrix',
  'mask',
  'opening',
  'packing',
  'pre-step',
  'pruning',
  'quantisation',
  'regrowth',
  'root update',
  'round',
  'schedule',
  'scheme',
  'scope',
  'seed',
  'share',
  'sketch',
  'sparsity',
  'study',
  'threshold',
  'tier',
  'update',
  'uplink',
  'variant',
  'word',
  'work directory',
)
# An accuracy, to which other machines and programs may round differently.
_ACCURACY = re.compile(r'\d+\.\d\d')


def _blocks(text, kind):
  return re.findall(rf'^```{kind}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def test_map_of_the_code_has_every_folder_and_is_short():
  readme = (_ROOT / 'README.md').read_text()
  (drawn,) = re.findall(r'## Map of the code.*?```text\n(.*?)```', readme, re.S)
  lines = drawn.splitlines()
  assert len(lines) <= 25
  folders = {
    f'fps_jax/{path.parent.name}/'
    for path in (_ROOT / 'fps_jax').glob('*/__init__.py')
  }
  others = {'launch.py', 'experiments/', 'tests/'}
  assert {line.split()[0] for line in lines} == folders | others


def test_every_folder_says_what_lives_there():
  for path in (_ROOT / 'fps_jax').rglob('*.py'):
    text = (path.parent / '__init__.py').read_text()
    assert len(ast.get_docstring(ast.parse(text)) or '') > 30, path


@pytest.mark.slow
@pytest.mark.parametrize(
  'name', ['README.md', 'docs/getting_started.md', 'docs/sharp_edges.md']
)
def test_python_example_prints_what_it_says(name, capsys):
  (example,) = _blocks((_ROOT / name).read_text(), 'python')
  exec(compile(example, name, 'exec'), {})
  printed = capsys.readouterr().out.strip()
  assert example.rstrip().endswith(f'# {printed}')


@pytest.mark.parametrize(
  ('name', 'message'),
  [('BUILD.md', r'^\| `(.*?)` \|'), ('docs/sharp_edges.md', r'^> (.*)')],
)
def test_messages_that_documents_quote_exist(name, message):
  source = ''.join(
    re.sub(r"""['"]\s*\n\s*f?['"]""", '', path.read_text())
    for path in (_ROOT / 'fps_jax').rglob('*.py')
  )
  text = (_ROOT / name).read_text()
  messages = re.findall(message, text, re.MULTILINE)
  assert len(messages) >= 5
  for message in messages:
    for part in re.split(r"'?\.\.\.'?|\[|\]|DIR| % ", message):
      assert part.strip() in source, part


def test_changelog_and_citation_have_the_version_of_the_package():
  version = [fps_jax.__version__]
  metadata = (_ROOT / 'setup.cfg').read_text()
  assert 'version = attr: fps_jax.__version__' in metadata
  citation = (_ROOT / 'CITATION.cff').read_text()
  assert re.findall(r'^version: (.*)$', citation, re.MULTILINE) == version
  assert version[0] in (_ROOT / 'CHANGELOG.md').read_text()


def test_settings_that_documents_name_exist():
  known = defaults.default()
  setting = rf'`(?:config\.)?({"|".join(known)})\.([a-z_]+)[=`]'
  text = ''.join(path.read_text() for path in _DOCUMENTS)
  named = set(re.findall(setting, text))
  assert len(named) >= 30
  for section, field in named:
    assert field in known[section], f'{section}.{field}'


def test_words_that_need_it_are_in_the_glossary():
  page = (_ROOT / 'docs' / 'glossary.md').read_text()
  explained = set(re.findall(r'^## (.*)$', page, re.MULTILINE))
  text = ''.join(path.read_text() for path in _DOCUMENTS).lower()
  used = {word for word in _JARGON if re.search(rf'\b{word}s?\b', text)}
  assert used == set(_JARGON)
  assert not used - {word.lower() for word in explained}


def test_links_between_documents_lead_somewhere():
  for path in _DOCUMENTS:
    for target in re.findall(r'\]\(([^)#:]+)\)', path.read_text()):
      assert (path.parent / target).exists(), f'{path.name}: {target}'


@pytest.fixture
def registries():
  """Forgets what a test adds to them."""
  with contextlib.ExitStack() as stack:
    for registry, _ in _REGISTRIES.values():
      stack.enter_context(mock.patch.dict(registry))
    stack.enter_context(mock.patch.dict(hooks.ON_ROUND))
    yield


def _sections_with_a_file():
  """Returns file name to the section that shows and runs it."""
  return {
    name: section
    for section in _TUTORIAL.split('\n## ')
    for name in re.findall(r'`(my_\w+\.py)`:', section)
  }


def _launch(command, workdir):
  """Runs a command of a document in this process, as launch.py does."""
  program, *arguments = shlex.split(command)
  assert program == 'python'
  values = flags.FlagValues()
  file = config_flags.DEFINE_config_file(
    'config', flag_values=values, sys_argv=arguments
  )
  values(arguments)
  try:
    jobs.run(file.value, workdir, arguments)
  except StudyError as error:
    print(f'error: {error}')


def _assert_shown(shown, printed):
  """Asserts that words follow each other as shown, but for rounding."""
  assert len(shown) == len(printed)
  for one, other in zip(shown, printed, strict=True):
    if _ACCURACY.fullmatch(one):
      assert abs(float(one) - float(other)) <= 5
    else:
      assert one == other


def _rows(text):
  """Returns the words of a table's rows, without the last, the seconds."""
  return [line.split()[:-1] for line in text.splitlines() if ' kB ' in line]


# As ml_collections loads a config file.
@pytest.mark.slow
@pytest.mark.filterwarnings(r'ignore:the load_module\(\) method is deprecated')
@pytest.mark.parametrize('name', _sections_with_a_file())
def test_file_of_the_tutorial_runs_and_prints_what_it_says(
  name, registries, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('COLUMNS', '80')
  # They take as long as compiling, and are not shown.
  monkeypatch.setattr(figures, 'write_figures', lambda *args: [])
  section = _sections_with_a_file()[name]
  (source,) = _blocks(section, 'python')
  (tmp_path / name).write_text(source)
  runs = _blocks(section, 'text')
  assert runs
  for number, run in enumerate(runs):
    command, _, shown = run.removeprefix('$ ').partition('\n')
    _launch(command, tmp_path / str(number))
    printed = capsys.readouterr().out
    if shown.startswith('error:'):
      _assert_shown(shown.split(), printed.split())
      continue
    assert len(_rows(shown)) >= 1
    for row, other in zip(_rows(shown), _rows(printed), strict=True):
      _assert_shown(row, other)


@pytest.mark.parametrize('field', _REGISTRIES)
def test_name_added_from_outside_is_built(field, registries):
  registry, name = _REGISTRIES[field]
  registry['mine'] = registry[name]
  mine = small.make_config(
    attack__malicious=0.25 * field.startswith('attack.'),
    cohort__weighting='clients',
  )
  if field == 'model.name':
    mine.model.args.mine = mine.model.args.mlp
  if field == 'profiles.distribution':
    mine.profiles.args.mine = mine.profiles.args.lognormal
  mine.update_from_flattened_dict({field: 'mine'})
  validate(mine)
  small.make(mine)
