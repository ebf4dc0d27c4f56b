"""Runs of a study as jobs: on this machine, by submitit's local executor."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fps_jax.config import defaults
from fps_jax.jobs import cluster, cluster_args, study
from fps_jax.jobs import run as jobs
from fps_jax.jobs.options import Cluster, Options
from fps_jax.results import metrics_file
from fps_jax.results import workdir as workdirs
from fps_jax.runs import checkpoints
from tests.helpers import small

pytest.importorskip('submitit')
_ROOT = pathlib.Path(__file__).parents[2]
_CONFIG = '--config=mnist:seeds=2,tiny,methods=fedavg+pruning+fedpruneshare'


def _command(workdir, *arguments):
  return [
    sys.executable,
    'launch.py',
    _CONFIG,
    '--config.model.args.mlp.widths=(8,)',
    '--config.pruning.sparsity=0.5',
    f'--workdir={workdir}',
    *arguments,
  ]


def _launch(workdir, *arguments):
  return subprocess.run(
    _command(workdir, *arguments),
    cwd=_ROOT,
    capture_output=True,
    text=True,
    timeout=500,
  )


def _without_seconds(path):
  text = re.sub(r'"[a-z_]*seconds": [^,\n}]*', '', path.read_text())
  return text.splitlines()


@pytest.mark.thorough
def test_runs_as_jobs_give_the_study_that_one_process_gives(tmp_path):
  """Three variants and two seeds, six jobs: models, metrics and tables."""
  alone, spread = tmp_path / 'alone', tmp_path / 'spread'
  for workdir, arguments in ((alone, ()), (spread, ['--cluster=local'])):
    done = _launch(workdir, *arguments)
    assert done.returncode == 0, done.stderr
  folders = sorted(path.parent for path in alone.glob('*/seed_*/metrics.jsonl'))
  assert len(folders) == 6
  for folder in folders:
    other = spread / folder.relative_to(alone)
    rows, others = (
      _without_seconds(each / 'metrics.jsonl') for each in (folder, other)
    )
    assert rows == others
    models = [
      checkpoints.read(each / 'checkpoints') for each in (folder, other)
    ]
    np.testing.assert_array_equal(models[0]['params'], models[1]['params'])
    environment = json.loads((other / 'environment.json').read_text())
    assert f'--only_run={folder.relative_to(alone)}' in environment['argv']
  for name in ('report.json', 'config.json', 'warnings.json'):
    assert _without_seconds(alone / name) == _without_seconds(spread / name)
  assert len(list((spread / 'cluster').glob('*_log.err'))) == 6
  # Nothing is left to hand in.
  again = _launch(spread, '--cluster=local')
  assert again.returncode == 0, again.stderr
  assert ': job ' not in again.stdout
  assert len(list((spread / 'cluster').glob('*_log.err'))) == 6


@pytest.mark.thorough
def test_ctrl_c_cancels_the_jobs_and_says_how_to_go_on(tmp_path):
  process = subprocess.Popen(
    [*_command(tmp_path), '--config.num_rounds=100000', '--cluster=local'],
    cwd=_ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )
  pattern = 'fedavg/seed_0/metrics.jsonl'
  end = time.monotonic() + 200
  while time.monotonic() < end and process.poll() is None:
    if metrics_file.count_rounds(tmp_path / pattern) > 12:
      break
    time.sleep(0.2)
  process.send_signal(signal.SIGINT)
  _, said = process.communicate(timeout=100)
  assert process.returncode == 130
  assert re.search(
    r'stopped by Ctrl-C with \d jobs, which are cancelled and keep their '
    r'checkpoints; to go on: .*launch.py .*--cluster=local',
    said.splitlines()[-1],
  )
  # What a job leaves can be gone on with once it has ended, which is soon.
  for _ in range(100):
    try:
      with workdirs.lock(tmp_path / 'fedavg' / 'seed_0'):
        break
    except ValueError:
      time.sleep(0.2)
  else:
    pytest.fail('the job goes on')
  assert checkpoints.read(tmp_path / 'fedavg' / 'seed_0' / 'checkpoints')


def _study(tmp_path, kind, args, **options):
  config = small.make_config()
  where = Cluster(kind, args, ['false'])
  study.run_study(config, tmp_path / 'w', [], Options(cluster=where, **options))


@pytest.mark.slow
def test_job_that_fails_is_named_with_its_log_and_its_reason(tmp_path):
  config = small.make_config()
  config.seeds = (0, 1)
  command = ['sh', '-c', 'echo "error: no luck" >&2; exit 1']
  where = Cluster('local', {}, command)
  with pytest.raises(study.StudyError) as caught:
    study.run_study(config, tmp_path / 'w', [], Options(cluster=where))
  lines = sorted(str(caught.value).splitlines())
  logs = {path.name for path in (tmp_path / 'w' / 'cluster').glob('*_log.err')}
  assert len(lines) == len(logs) == 2
  for seed, line in enumerate(lines):
    assert re.match(
      rf'study, seed {seed}: job \d+ ended after 0 of 3 rounds: no luck; its '
      'log is ',
      line,
    )
    assert pathlib.Path(line.split()[-1]).name in logs


@pytest.mark.parametrize(
  ('kind', 'args', 'message'),
  [
    ('local', {'nodes': 2}, 'nodes=2: a run is one process, leave it out'),
    ('local', {'partition': 'gpu'}, 'partition is for --cluster=slurm: local'),
    ('slurm', {}, 'needs the minutes .*: --cluster_args=timeout_min=60'),
    ('local', {'max_jobs': -1}, 'max_jobs=-1 must be a number, 0 or more'),
    ('local', {'timeout_min': 'long'}, 'timeout_min=long must be a number'),
  ],
)
def test_jobs_that_cannot_be_are_refused_before_any_work(
  tmp_path, kind, args, message
):
  with pytest.raises(study.StudyError, match=message):
    _study(tmp_path, kind, args)
  assert not (tmp_path / 'w').exists()


def test_trace_of_a_job_is_refused(tmp_path):
  with pytest.raises(study.StudyError, match='--profile traces a run of this'):
    _study(tmp_path, 'local', {}, profile=True)


def test_cluster_without_submitit_is_told_how_to_get_it(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'submitit', None)
  with pytest.raises(study.StudyError, match=r"install 'fps_jax\[cluster\]'"):
    _study(tmp_path, 'local', {})


def test_run_that_another_process_is_at_is_left_to_it(tmp_path):
  config = small.make_config()
  with workdirs.lock(tmp_path / 'study' / 'seed_0'):
    options = Options(only_run='study/seed_0')
    with pytest.raises(study.StudyError, match='in use by another process'):
      jobs.run(config, tmp_path, [], options)


@pytest.mark.parametrize(
  'folder', ['study/seed_7', 'fedavg/seed_0', 'study', 'study/seed_0/more']
)
def test_run_that_the_study_does_not_have_is_refused(tmp_path, folder):
  with pytest.raises(study.StudyError, match=f'--only_run={folder} is none of'):
    jobs.run(small.make_config(), tmp_path, [], Options(only_run=folder))


def test_only_run_keeps_the_variant_it_is_of():
  config = small.make_config()
  defaults.compare_methods(config)
  config.seeds = (0, 3)
  one = cluster.only_run(config, 'pruning/seed_3')
  assert one.variants.to_dict() == {'pruning': defaults.METHODS['pruning']}
  assert one.seeds == (3,)
  assert config.seeds == (0, 3)


@pytest.mark.parametrize(
  ('texts', 'found'),
  [
    (['timeout_min=60'], {'timeout_min': 60}),
    (
      ['mem_gb=1.5,partition=a,b,qos=x'],
      {
        'mem_gb': 1.5,
        'partition': 'a,b',
        'qos': 'x',
      },
    ),
    (['a=1', 'b=2'], {'a': 1, 'b': 2}),
  ],
)
def test_arguments_of_jobs_are_read(texts, found):
  assert cluster_args.parse_args(texts) == found


@pytest.mark.parametrize('texts', [['60'], ['a='], ['=1'], ['a=1', 'a=2']])
def test_arguments_that_are_none_are_refused(texts):
  with pytest.raises(ValueError, match='--cluster_args='):
    cluster_args.parse_args(texts)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--cluster=pbs'], '--cluster=pbs must be one of slurm, local'),
    (['--cluster_args=a=1'], '--cluster_args needs --cluster=slurm or'),
  ],
)
@pytest.mark.slow
def test_mistaken_flag_is_named(arguments, message, tmp_path):
  done = _launch(tmp_path / 'w', *arguments)
  assert done.returncode == 1
  assert message in done.stderr
  assert done.stderr.count('\n') == 1
