"""FedPruneShare against its three baselines on text, the next character.

50 clients of the made-up prose `text`, each with a style and an amount of its
own (`data.partition='natural'`), 20 of them a round; a small LSTM, 20,951
parameters. Accuracy is that of all characters; clients are tested each by
itself, too, and after training the model on what they wrote.
Five minutes on two CPU cores:

  python launch.py --config=experiments/text.py

Arguments: `seeds=N` runs seeds 0 .. N - 1; `methods=fedavg+fedpruneshare` runs
those alone; `tiny` is a test of seconds.
Results are in experiments/README.md.
"""

from ml_collections import ConfigDict

from fps_jax.config import defaults as configs


def get_config(arguments: str | None = None) -> ConfigDict:
  """Returns the config; see the module docstring for the arguments."""
  args = configs.parse_arguments(arguments, seeds=1, methods='', tiny=False)
  config = configs.default()
  config.name = 'text'
  configs.prune_by_single_threshold(config)
  config.seeds = tuple(range(args.seeds))
  configs.compare_methods(config, args.methods)
  config.num_rounds = 80
  config.model.name = 'char_lstm'
  config.client.learning_rate = 2.0
  config.client.epochs = 2
  config.cohort.size = 20
  config.pruning.sparsity = 0.7
  config.pruning.begin_round = 20
  config.pruning.end_round = 60
  configs.share_in_short_words(config)
  config.eval.by_client_every_rounds = 20
  config.eval.personal_epochs = 2
  if args.tiny:
    configs.tiny(config)
    config.model.args.char_lstm.width = 16
    config.eval.personal_epochs = 1
  # As tiny ones are, too: other made-up data have no characters.
  config.data.source = 'text'
  config.data.partition = 'natural'
  config.data.num_clients = 50
  return config
