"""Processes that differ refuse together, in the same words."""

import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from fps_jax.jobs import agreement

pytestmark = pytest.mark.thorough

_ROOT = pathlib.Path(__file__).parents[2]
# What processes 0 and 1 say; one pattern for both where that is the same.
_SAID = {
  'config': r'config\.client\.momentum is 0\.0 in process 0, 0\.5 in process 1',
  'seeds': r'config\.seeds is \[0\] in process 0, \[1, 2\] in process 1',
  'variants': r'variants\.mine\.num_rounds is not set in process 0, 3 in',
  'data': r'data\.mine is \w+ in process 0, \w+ in process 1',
  'missing': r'process 1 has ended: no data here|no data',
  'used': r'work directory \S*0/used is not empty',
  'inversion': r"job='inversion' runs in one process, not in 2",
  'version': r'code\.packages\.jax is one in process 0, another in process 1',
}


@pytest.fixture(scope='module')
def printed(tmp_path_factory) -> list[str]:
  """What two processes that differ print."""
  folder = tmp_path_factory.mktemp('work')
  with socket.socket() as free:
    free.bind(('localhost', 0))
    coordinator = f'localhost:{free.getsockname()[1]}'
  started = [
    subprocess.Popen(
      [
        sys.executable,
        '-m',
        'tests.helpers.agreement_worker',
        coordinator,
        process,
        folder,
      ],
      cwd=_ROOT,
      env={
        **os.environ,
        'JAX_PLATFORMS': 'cpu',
      },
      stdout=subprocess.PIPE,
      text=True,
    )
    for process in '01'
  ]
  outputs = [process.communicate(timeout=200)[0] for process in started]
  assert [process.returncode for process in started] == [0, 0]
  return outputs


def test_texts_of_any_length_and_number_of_devices_are_exchanged(printed):
  assert all('exchange [3, 4]\n' in each for each in printed)


def test_what_process_0_tells_arrives_bit_for_bit(printed):
  assert all('first True float32\ntold né\n' in each for each in printed)


def test_processes_agree_on_the_largest_number(printed):
  assert all('largest 7\n' in each for each in printed)


@pytest.mark.parametrize('case', _SAID)
def test_processes_that_differ_refuse_together(printed, case):
  for each in printed:
    (line,) = re.findall(rf'^{case} (.*)', each, re.MULTILINE)
    assert re.search(_SAID[case], line), line


def test_only_what_differs_is_named_with_who_has_what():
  facts = [{'a': {'b': 1, 'same': 0}}, {'a': {'b': 2, 'same': 0}}]
  message = r'^processes differ: a\.b is 1 in process 0\+2, 2 in process 1: '
  with pytest.raises(ValueError, match=message):
    agreement.check_alike(['', '', ''], [*facts, facts[0]])
  agreement.check_alike(['', ''], [facts[0], facts[0]])


def test_long_lists_of_differences_are_cut():
  facts = [{str(i): f'{process}' * 1000 for i in range(9)} for process in '01']
  with pytest.raises(ValueError, match='and 6 more fields') as caught:
    agreement.check_alike(['', ''], facts)
  assert len(str(caught.value)) < 800
