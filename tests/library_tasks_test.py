"""Every task of docs/library.md runs, and takes the lines that it says."""

import pathlib
import re
from unittest import mock

import pytest

from fps_jax.federated import losses

_PAGE = (pathlib.Path(__file__).parents[1] / 'docs' / 'library.md').read_text()
_SETUP, *_TASKS = re.findall(r'^```python\n(.*?)^```', _PAGE, re.M | re.S)
_NAMES = re.findall(r'^## (.*)$', _PAGE, re.M)


def test_every_task_is_in_the_table_with_its_lines():
  listed = re.findall(r'^\| \[(.*?)\]\(#(.*?)\) \| (\d+) \|$', _PAGE, re.M)
  assert [name for name, _, _ in listed] == _NAMES
  for (name, link, lines), task in zip(listed, _TASKS, strict=True):
    written = [line for line in task.splitlines() if line]
    assert len(written) == int(lines), name
    assert link == re.sub(r'[^a-z -]', '', name.lower()).replace(' ', '-')


@pytest.mark.slow
@pytest.mark.parametrize('name', _NAMES)
def test_task_runs_as_it_stands_and_does_what_it_says(
  name, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  names = {}
  with mock.patch.dict(losses.LOSSES):
    exec(compile(_SETUP + _TASKS[_NAMES.index(name)], name, 'exec'), names)
  if name in _EXPECTED:
    assert eval(_EXPECTED[name], names), name
  else:
    assert name == 'A loss of your own'


# Of the names that a task leaves behind, what must hold.
_EXPECTED = {
  'Run, and read the rounds': 'len(frame) == 3',
  'Compare methods': 'frame[-1]["round"] == 3',
  'Use the trained model': 'logits.shape == (5, 10)',
  'Keep a study, and load it': 'same.rows == result.rows',
  'Share words': 'words.tolist() == [1, 2, 3]',
  'Share floats, and open their sum': (
    'np.allclose(total, alice + bob, atol=2 * scheme.step)'
  ),
  'Prune': '(pruned["kernel"] != 0).sum() == 45',
  'Deal data to clients': 'sum(map(len, parts)) == 1000 and len(parts) == 20',
  'Aggregate by a robust rule': 'aggregate.shape == (100,)',
  'Count the bytes of a round': 'sent.uplink_per_client > 1e5',
  'Clients of your own': 'result.config.data.source.startswith("mine@")',
  'Another test set': (
    'result.rows[-1]["test_accuracy"] in [n / 50 for n in range(51)]'
  ),
  'Text': 'result.rows[-1]["test_accuracy"] > 0',
  'A metric of your own': '"bias" in result.rows[-1]',
  'Adam for clients, with a schedule': 'len(result.rows) == 3',
  'Learning rates that decay over rounds': 'len(result.rows) == 3',
  'Augment images': 'len(result.rows) == 3',
  'Accuracy by client': ('result.rows[-1]["client_accuracy"] is not None'),
  'Personalised models': ('result.rows[-1]["personal_accuracy"] is not None'),
  'Stop early': 'len(result.rows) < 3',
  'Keep the best model': 'result.best.round >= 1',
  'Begin with a trained model': (
    'second.rows[0]["train_loss"] < first.rows[0]["train_loss"]'
  ),
  'More rounds for a finished study': 'rounds == [1, 2, 3, 4, 5]',
}
