"""Tests of `jobs.listing` against the registries and the files there are."""

import functools
import pathlib

import pytest

from fps_jax import models
from fps_jax.attacks import updates
from fps_jax.attacks.data import DATA_ATTACKS
from fps_jax.config import defaults as configs
from fps_jax.data import PARTITIONERS, SOURCES, partitioners
from fps_jax.defences import COORDINATE_RULES, GRAM_RULES, PRE_STEPS
from fps_jax.federated import learning_rates, optimizers, server
from fps_jax.federated.augmentation import AUGMENTATIONS
from fps_jax.federated.losses import LOSSES
from fps_jax.jobs import listing
from fps_jax.jobs import run as jobs
from fps_jax.pruning import pruner, schedules
from fps_jax.runs import hooks
from fps_jax.runs.costs import profiles
from fps_jax.sharing import audit, schemes

_FOLDER = pathlib.Path(__file__).parents[2] / 'experiments'
REGISTRIES = (
  jobs.JOBS,
  configs.METHODS,
  SOURCES,
  PARTITIONERS,
  models.MODELS,
  LOSSES,
  optimizers.OPTIMIZERS,
  learning_rates.SCHEDULES,
  AUGMENTATIONS,
  DATA_ATTACKS,
  updates.UPDATE_ATTACKS,
  GRAM_RULES,
  COORDINATE_RULES,
  PRE_STEPS,
  schedules.SCHEDULES,
  pruner.SCOPES,
  server.OPTIMIZERS,
  profiles.DISTRIBUTIONS,
  schemes.SCHEMES,
  audit.AUDITS,
  hooks.ON_ROUND,
)


def test_every_entry_of_every_registry_has_a_sentence():
  configs_section, *sections = listing.sections(_FOLDER)
  files = sorted(path.stem for path in _FOLDER.glob('*.py'))
  assert list(configs_section.entries) == files
  assert len(sections) == len(REGISTRIES)
  for section, registry in zip(sections, REGISTRIES, strict=True):
    assert list(section.entries) == list(registry)
  for section in (configs_section, *sections):
    for name, sentence in section.entries.items():
      assert sentence.endswith('.'), (name, sentence)
      assert sentence != listing.UNDOCUMENTED
      assert '\n' not in sentence


def test_text_has_a_line_for_every_entry():
  lines = listing.text(_FOLDER).splitlines()
  sections = list(listing.sections(_FOLDER))
  entries = [line for line in lines if line.startswith('  ')]
  assert len(entries) == sum(len(section.entries) for section in sections)
  for section in sections:
    place = lines.index(section.title)
    for line, name in zip(lines[place + 1 :], section.entries, strict=False):
      assert line.split()[0] == name
      assert line.endswith(section.entries[name])


@pytest.mark.parametrize(
  ('registry', 'title'),
  [
    (PARTITIONERS, 'data.partition: partitioners'),
    (models.MODELS, 'model.name: models'),
    (GRAM_RULES, 'defence.name: defences by inner products'),
  ],
)
def test_what_a_config_registers_is_listed(monkeypatch, registry, title):
  def mine():
    """Does it my way. And well."""

  monkeypatch.setitem(registry, 'mine', mine)
  monkeypatch.setitem(registry, 'bare', functools.partial(lambda: None))
  (section,) = (
    section for section in listing.sections(_FOLDER) if section.title == title
  )
  assert section.entries['mine'] == 'Does it my way.'
  assert section.entries['bare'] == listing.UNDOCUMENTED


def test_methods_are_listed_with_what_they_override():
  text = listing.text(_FOLDER)
  trains_all = "pruning.schedule='none', pruning.trained_fraction=1.0"
  assert f"FedAvg: {trains_all}, sharing.scheme='none'.\n" in text
  assert '  FedPruneShare: the defaults.\n' in text


def test_configs_are_read_but_not_run(tmp_path):
  (tmp_path / 'loud.py').write_text('"""Says so. Twice."""\nraise SystemExit')
  (tmp_path / 'bare.py').write_text('x = 1')
  (tmp_path / 'broken.py').write_text('def')
  section = next(listing.sections(tmp_path))
  assert section.entries['loud'] == 'Says so.'
  assert section.entries['bare'] == listing.UNDOCUMENTED
  assert section.entries['broken'].startswith('(cannot be read: ')


def test_sentences_of_wrapped_functions_are_their_own():
  wrapped = functools.partial(partitioners.shards, shards_per_client=3)
  assert listing.describe(wrapped) == listing.describe(partitioners.shards)
