"""One of several processes of a small run; prints what its model is.

Usage: worker.py DEVICES [COORDINATOR NUM_PROCESSES PROCESS_ID]
"""

import hashlib
import sys

import jax
import small


def main(arguments: list[str]) -> None:
  """Runs two rounds and prints the hash of the model and the losses."""
  jax.config.update('jax_num_cpu_devices', int(arguments[0]))
  if arguments[1:]:
    coordinator, num_processes, process_id = arguments[1:]
    jax.distributed.initialize(coordinator, int(num_processes), int(process_id))
  config = small.small_config()
  # Clients of many sizes, rows of padding on some devices, chunks of several.
  config.data.num_clients = 11
  config.cohort.size = 9
  config.cohort.dropout_probability = 0.2
  config.perf.chunk_size = 2
  config.num_rounds = 2
  params, rows = small.run(config)
  model = hashlib.sha256(params.tobytes()).hexdigest()
  print('model', model, [row['train_loss_nats'] for row in rows])


if __name__ == '__main__':
  main(sys.argv[1:])
