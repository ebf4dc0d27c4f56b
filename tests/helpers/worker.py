"""One of several processes of small runs; prints what their models are.

Usage: worker.py DEVICES [COORDINATOR NUM_PROCESSES PROCESS_ID]
"""

import contextlib
import hashlib
import sys
from typing import Any

import jax

from tests.helpers import small

# FedPruneShare, as overrides: alike for all clients and under keys of the
# system, in tiers, a baseline in which clients remember, and a defence.
_METHODS: tuple[dict[str, Any], ...] = (
  {'sharing.entropy': 'os'},
  {
    'sharing.scheme': 'ideal',
    'pruning.tiers': (0.2, 0.5, 1.0),
    'profiles.distribution': 'three_classes',
    'profiles.deadline_seconds': 0.03,
    'eval.by_client_every_rounds': 1,
    'eval.personal_epochs': 1,
  },
  # Of batches that are split over devices, test losses have the same bits, too.
  # What is drawn for a client's examples depends on no device, either.
  {
    'sharing.scheme': 'ideal',
    'data.validation_fraction': 0.1,
    'eval.batch_size': 7,
    'pruning.mask': 'top_k',
    'client.augmentation': 'crop_flip',
    'client.optimizer': 'adam',
    'client.learning_rate': 0.01,
    'client.schedule': 'cosine',
  },
  {
    'cohort.weighting': 'clients',
    'attack.malicious': 0.2,
    'attack.updates': 'gaussian',
    'defence.name': 'multi_krum',
    'defence.num_malicious': 2,
    'defence.sketch_size': 64,
  },
)


def main(arguments: list[str]) -> None:
  """Runs two rounds of each method, and prints root key, model and numbers."""
  jax.config.update('jax_num_cpu_devices', int(arguments[0]))
  if arguments[1:]:
    coordinator, num_processes, process_id = arguments[1:]
    jax.distributed.initialize(coordinator, int(num_processes), int(process_id))
  for changes in _METHODS:
    # Clients of many sizes, rows of padding on some devices, chunks of several.
    config = small.make_config(
      data__num_clients=11,
      cohort__size=9,
      faults__client_dropout_probability=0.2,
      perf__chunk_size=2,
      num_rounds=2,
      **changes,
    )
    # Shares are exact however they are compiled, and are long to optimise.
    is_exact = config.sharing.scheme == 'shamir'
    with contextlib.nullcontext() if is_exact else small.full_compilation():
      simulation = small.make(config)
      params, rows = small.run_simulation(simulation, config)
    model = hashlib.sha256(params.tobytes()).hexdigest()
    losses = [row['train_loss'] for row in rows]
    print('root', simulation.sharing_root.tolist())
    clients = [
      (row['client_accuracy'], row['personal_accuracy']) for row in rows
    ]
    tiers = [row['clients_per_tier'] for row in rows]
    tests = [
      (row['test_accuracy'], row['test_loss'], row['validation_loss'])
      for row in rows
    ]
    print('model', model, losses, tiers, clients, tests)


if __name__ == '__main__':
  main(sys.argv[1:])
