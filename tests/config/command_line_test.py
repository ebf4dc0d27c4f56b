"""What the command line sets in a config, and what it is told."""

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from fps_jax.config import command_line

_FILE = """
from ml_collections import ConfigDict, config_dict
def get_config(_=None):
  config = ConfigDict()
  config.seeds = (0,)
  config.steps = ('nnm',)
  config.chosen = config_dict.placeholder(float)
  config.chosen = 1.5
  config.count = config_dict.placeholder(int)
  config.count = 2
  config.is_on = config_dict.placeholder(bool)
  config.is_on = True
  config.name = 'mine'
  return config
"""


@pytest.fixture(autouse=True)
def parsers():
  """Registers them, and forgets them after the test."""
  known = dict(config_flags.config_flags._FIELD_TYPE_TO_PARSER)
  command_line.register_parsers()
  yield
  config_flags.config_flags._FIELD_TYPE_TO_PARSER.update(known)


def parse(tmp_path, *arguments: str) -> ConfigDict:
  """Returns the config of the file above, with overrides."""
  file = tmp_path / 'file.py'
  file.write_text(_FILE)
  argv = ['launch.py', f'--config={file}', *arguments]
  values = flags.FlagValues()
  holder = config_flags.DEFINE_config_file(
    'config', flag_values=values, sys_argv=argv
  )
  values(argv)
  return holder.value


# As ml_collections loads a config file.
pytestmark = pytest.mark.filterwarnings(
  r'ignore:the load_module\(\) method is deprecated'
)


@pytest.mark.parametrize(
  ('argument', 'field', 'value'),
  [
    ('seeds=3,', 'seeds', (3,)),
    ('seeds=(3,)', 'seeds', (3,)),
    ('seeds=[3]', 'seeds', (3,)),
    ('seeds=1,2', 'seeds', (1, 2)),
    ('seeds=()', 'seeds', ()),
    ('steps=nnm,', 'steps', ('nnm',)),
    ('steps=nnm,bucketing', 'steps', ('nnm', 'bucketing')),
    ("steps=('a,b',)", 'steps', ('a,b',)),
    ('chosen=None', 'chosen', None),
    ('chosen=2', 'chosen', 2.0),
    ('count=None', 'count', None),
    ('count=3', 'count', 3),
    ('is_on=None', 'is_on', None),
    ('is_on=false', 'is_on', False),
    ('name=None', 'name', 'None'),
  ],
)
def test_value_of_the_command_line_is_that_of_python(
  tmp_path, argument, field, value
):
  found = parse(tmp_path, f'--config.{argument}')[field]
  assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
  ('argument', 'cure'),
  [
    ('seeds=3', 'write "3," or "(3,)" for the one entry 3'),
    ('seeds=0.5', 'write "0.5," or "(0.5,)"'),
    ('seeds=None', 'must be a tuple'),
    ('seeds=(3', 'must be a tuple'),
    ('steps=nnm', """write "nnm," or "('nnm',)" for the one entry nnm"""),
    ("steps='nnm'", 'must be a tuple'),
  ],
)
def test_tuple_that_is_given_a_lone_value_is_refused(tmp_path, argument, cure):
  with pytest.raises(flags.IllegalFlagValueError) as caught:
    parse(tmp_path, f'--config.{argument}')
  assert f'--config.{argument}: must be a tuple' in str(caught.value)
  assert cure in str(caught.value)


@pytest.mark.parametrize('returned', [None, {'seeds': (0,)}, 3])
def test_file_that_returns_no_config_is_told_how_to_begin(returned):
  with pytest.raises(ValueError, match=r'not a ConfigDict: begin with fps_jax'):
    command_line.check_is_config(returned)
