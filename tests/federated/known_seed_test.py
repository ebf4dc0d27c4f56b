"""A test of a round whose attackers know the seed of sketches."""

import numpy as np
import pytest

from tests.helpers import small
from tests.helpers.guarded_rounds import IDEAL, guarded_config


@pytest.mark.thorough
def test_who_knows_the_seed_of_sketches_sends_what_no_server_sees():
  """Many times as far as honest updates are, at full weight.

  So the attacker's sketches, range sums and products are those of the servers.
  """
  config = guarded_config(
    **IDEAL,
    attack__malicious=0.25,
    attack__updates='ascent',
    attack__args__ascent__reach=100.0,
    attack__knows_seed=True,
    defence__name='multi_krum',
    defence__pre_steps=('trust',),
    defence__num_malicious=2,
    defence__sketch_size=16,
    client__steps=10,
    sharing__threshold=4,
    sharing__secrets_per_polynomial=2,
    # Rounding is seen, so that there should be little of it.
    sharing__value_bits=12,
    faults__client_dropout_probability=0.0,
  )
  simulation = small.make(config)
  state, plan = simulation.init_state(), simulation.plan(0)
  examples = simulation.put_data()
  trained = simulation.start(state, plan, examples)
  norms_C = np.linalg.norm(np.asarray(trained.updates_CxM), axis=1)
  malicious_C = np.asarray(plan.cohort.malicious)
  assert norms_C[malicious_C].min() > 20 * norms_C[~malicious_C].max()
  _, metrics, _ = simulation.finish(state, plan, examples, trained)
  assert np.all(np.asarray(metrics.is_sound)[malicious_C])
  weights_C = np.asarray(metrics.weights)
  assert np.all(weights_C[malicious_C] == weights_C.max())
