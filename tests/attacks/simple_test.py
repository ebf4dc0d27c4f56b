"""Tests of `fps_jax.attacks.simple`, by hand."""

import jax
import numpy as np
import pytest

from fps_jax.attacks import updates
from tests.helpers.cohorts import (
  NUM_CLIENTS,
  NUM_STATES,
  NUM_VALUES,
  USUAL,
  Cohorts,
  last_is_malicious,
  run,
  run_every,
)


def test_sign_flip_turns_every_own_update_around():
  for _, own, sent, _ in run_every('sign_flip'):
    np.testing.assert_array_equal(sent, -2 * own)


def test_scaling_magnifies_every_own_update():
  for _, own, sent, _ in run_every('scaling'):
    np.testing.assert_array_equal(sent, 4 * own)


def test_scaling_by_the_number_of_clients_replaces_the_mean():
  values = np.zeros((NUM_CLIENTS, NUM_VALUES), np.float32)
  values[-1] = 0.25, -0.5, 1.0, 0.0, 2.0, -3.0
  sent = run(last_is_malicious(values), 'scaling')
  np.testing.assert_allclose(sent[0].mean(axis=0), values[-1])


def draws_of(name: str) -> np.ndarray:
  """Returns what a malicious client sends among honest updates of 0.5."""
  halves = last_is_malicious(np.array(0.5))
  return np.array([run(halves, name, seed)[0, -1] for seed in range(100)])


def test_gaussian_is_normal_with_a_multiple_of_the_root_mean_square():
  noise = draws_of('gaussian') / (3 * 0.5)
  # Five standard errors of 600 draws.
  assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
  assert abs(noise.std() - 1) < 5 / np.sqrt(2 * noise.size)
  assert abs(np.mean(np.abs(noise) < 1) - 0.6827) < 5 * 0.466 / noise.size**0.5


def test_gaussian_measures_honest_updates_alone():
  values = np.arange(NUM_CLIENTS * NUM_VALUES).reshape(NUM_CLIENTS, -1) / 10
  sizes = np.sqrt(np.mean(np.square(values[:-1])))
  noise = run(last_is_malicious(np.array(1.0)), 'gaussian')[0, -1]
  sent = run(last_is_malicious(values), 'gaussian')[0, -1]
  np.testing.assert_allclose(sent, sizes * noise, rtol=1e-5)


def test_gaussian_measures_what_is_sent_and_no_padding():
  attack = updates.make('gaussian', deviation_factor=3.0)
  sent = np.random.default_rng(0).normal(size=(4, 60)).astype(np.float32)
  rows = np.pad(sent, ((0, 0), (0, 940)))
  malicious, present = np.arange(4) == 3, np.ones(4, bool)
  found = attack(rows, malicious, present, jax.random.key(0), 60)[-1]
  expected = 3 * np.sqrt(np.mean(np.square(sent[:-1])))
  # Five standard errors of 1,000 draws.
  assert abs(np.std(found) / expected - 1) < 5 / np.sqrt(2000)


def test_wrap_around_sends_the_limit_with_both_signs():
  for _, _, sent, _ in run_every('wrap_around'):
    np.testing.assert_array_equal(np.abs(sent), np.float32(1e9))
  signs = np.sign(draws_of('wrap_around'))
  assert abs(signs.mean()) < 5 / np.sqrt(signs.size)


@pytest.mark.parametrize('name', ['gaussian', 'wrap_around'])
def test_malicious_clients_draw_each_for_itself(name: str):
  ones = np.ones((NUM_STATES, NUM_CLIENTS, NUM_VALUES), np.float32)
  everyone = np.ones((NUM_STATES, NUM_CLIENTS), bool)
  sent = run(Cohorts(ones, everyone, everyone), name)[0]
  assert len(np.unique(sent, axis=0)) == NUM_CLIENTS


@pytest.mark.parametrize('name', ['gaussian', 'wrap_around'])
def test_draws_of_a_row_depend_on_key_row_and_length_alone(name: str):
  sent = run(last_is_malicious(np.array(1.0)), name, 3)[0, -1]
  ones = np.ones((NUM_CLIENTS + 2, NUM_VALUES), np.float32)
  malicious = np.arange(len(ones)) >= NUM_CLIENTS - 1
  attack = jax.jit(updates.make(name, **USUAL[name]))
  many = attack(ones, malicious, np.ones(len(ones), bool), jax.random.key(3))
  np.testing.assert_allclose(sent, many[NUM_CLIENTS - 1], rtol=1e-6)
