"""Every setting, with its default and its reason, and what configs build on.

A config file under `experiments/` calls `default()`, changes what it studies
and returns the result. The defaults are FedPruneShare itself; baselines switch
parts of it off, so that an override on the command line reaches every variant
that has the part.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict, config_dict

from fps_jax.config import open_sections
from fps_jax.federated.performance import Performance

# Fields that all variants of a study have in common: its report puts them in
# one table.
STUDY_FIELDS = (
  'name',
  'job',
  'seeds',
  'num_rounds',
  'baseline',
  'target_accuracy',
)
# The four methods that are compared, as overrides of the config.
FOUR_METHODS: dict[str, dict[str, dict[str, Any]]] = {
  'fedavg': {'pruning': {'schedule': 'none'}, 'sharing': {'scheme': 'none'}},
  'pruning': {'sharing': {'scheme': 'none'}},
  'sharing': {'pruning': {'schedule': 'none'}},
  'fedpruneshare': {},
}
# Others, to tell what each part buys.
METHODS: dict[str, dict[str, dict[str, Any]]] = {
  **FOUR_METHODS,
  'quantisation': {
    'pruning': {'schedule': 'none'},
    'sharing': {'scheme': 'quantised'},
  },
  'pruning_quantisation': {'sharing': {'scheme': 'quantised'}},
  # Shares of different positions cannot be packed; sums are those of shamir.
  'local_masks': {
    'pruning': {'mask': 'local'},
    'sharing': {'scheme': 'ideal', 'secrets_per_polynomial': 1},
  },
  'top_k': {'pruning': {'mask': 'top_k'}, 'sharing': {'scheme': 'none'}},
}


def default() -> ConfigDict:
  """Returns the default config: FedPruneShare on the bundled MNIST sample.

  It is locked, but for `sections.OPEN_SECTIONS`: only fields that there are can
  be set.
  """
  config = ConfigDict()
  config.name = 'study'  # names the default work directory
  config.job = 'study'  # a key of fps_jax.jobs.run.JOBS
  config.seeds = (0,)  # one run of every variant for each
  config.num_rounds = 40
  # Or 'stop', the whole study: once loss, model or updates are not finite.
  config.on_divergence = 'end_run'
  # Named overrides of this config, but not of STUDY_FIELDS; each is a method in
  # the report. Empty: the config itself is the one method. A name may have a
  # dot: fedpruneshare_97.5.
  config.variants = ConfigDict(sort_keys=False, allow_dotted_keys=True)
  # What it cost to reach this test accuracy is reported; 0 = nothing is.
  config.target_accuracy = 0.0
  config.baseline = ''  # variant that savings are measured against; '' = none

  config.data = ConfigDict()
  config.data.source = 'mnist_sample'  # or 'fake', or any TFDS name: 'mnist'
  config.data.num_clients = 100
  config.data.partition = 'dirichlet'  # iid, dirichlet, shards, quantity_skew
  config.data.partition_args = ConfigDict(  # of each partitioner
    {
      'dirichlet': {'alpha': 0.5, 'min_examples': 1},
      'shards': {'shards_per_client': 2},
      'quantity_skew': {'alpha': 0.5, 'min_examples': 1},
    }
  )
  config.data.pixel_mean = 0.0  # subtracted after scaling pixels to [0, 1]
  config.data.pixel_std = 1.0  # and divided by

  config.model = ConfigDict()
  config.model.name = 'mlp'  # a key of fps_jax.models.MODELS
  config.model.args = ConfigDict(  # fields of each model
    {
      'mlp': {'widths': (200, 200)},
      'cifar_cnn': {'channels': (32, 64, 64), 'hidden': 0},
      'resnet8': {'width': 16},
      'resnet20': {'width': 16},
    }
  )

  config.client = ConfigDict()
  config.client.learning_rate = 0.1
  config.client.momentum = 0.0
  config.client.weight_decay = 0.0
  config.client.proximal = 0.0  # FedProx's mu; 0 = FedAvg's local training
  config.client.batch_size = 10
  config.client.epochs = 1
  config.client.steps = 0  # above 0: this many steps a round, not epochs

  config.cohort = ConfigDict()
  config.cohort.size = 100  # clients drawn a round
  # Or 'clients', all weigh the same: nobody can lie about a count.
  config.cohort.weighting = 'examples'

  config.server = ConfigDict()
  # Or momentum; fedadagrad, fedadam, fedyogi, as their paper has them; adam,
  # yogi, as optax has them, with bias correction.
  config.server.optimizer = 'sgd'
  config.server.learning_rate = 1.0  # 1 with sgd is FedAvg
  config.server.momentum = 0.9  # not used by sgd

  config.pruning = ConfigDict()
  config.pruning.schedule = 'cubic'  # none, constant, cubic, step
  config.pruning.sparsity = 0.9  # final fraction of ALL parameters removed
  config.pruning.begin_round = 0
  config.pruning.end_round = 20  # first round at the final sparsity
  config.pruning.num_steps = 4  # of the schedule step
  # Parameters whose path matches are never pruned (but are shared).
  config.pruning.exempt = ('bias$', 'scale$', '^output/')
  # Or local, top_k: clients train everything and choose what they send.
  config.pruning.mask = 'shared'
  config.pruning.scope = 'global'  # or layer_normalised, erk
  config.pruning.server = 'sparse'  # or dense: remembers what is pruned
  config.pruning.regrow_every = 0  # rounds; 0: pruned weights stay pruned
  config.pruning.regrow_fraction = 0.3  # of prunable kept weights, at first
  config.pruning.regrow_end_round = 20  # first round without regrowth
  config.pruning.candidates_per_regrown = 2.0  # pruned weights tried out
  # Of the prunable parameters that a round keeps, the part that each tier of
  # clients trains, ascending to 1; which tier is a matter of the deadline.
  config.pruning.tiers = (1.0,)

  config.profiles = ConfigDict()  # what the clients' devices can do
  config.profiles.distribution = 'none'  # same, three_classes, lognormal
  config.profiles.args = ConfigDict(  # speeds per second
    {
      'same': {'gflops': 10.0, 'download_mbits': 25.0, 'upload_mbits': 5.0},
      'three_classes': {
        'gflops': (2.0, 10.0, 50.0),
        'download_mbits': (5.0, 25.0, 100.0),
        'upload_mbits': (1.0, 5.0, 25.0),
      },
      'lognormal': {
        'gflops': 10.0,
        'download_mbits': 25.0,
        'upload_mbits': 5.0,
        'sigma': 1.0,
      },
    }
  )
  config.profiles.round_sigma = 0.2  # of the log of speeds, round to round
  config.profiles.deadline_seconds = 0.0  # of a round; 0 waits for everyone
  # Of a pruned parameter's arithmetic, the part that a device saves: 0 where it
  # multiplies by zeros like by anything else, as most do.
  config.profiles.compute_saved = 0.0

  config.sharing = ConfigDict()
  config.sharing.scheme = 'shamir'  # none, quantised, ideal, shamir
  config.sharing.reveal = 'sum'  # or 'updates': central sees every update
  config.sharing.num_servers = 5  # N
  config.sharing.threshold = 3  # k: any k servers reconstruct
  config.sharing.secrets_per_polynomial = 1  # l: shares of k - l hide it
  config.sharing.seeded = True  # k - l shares travel as seeds of 32 bytes
  config.sharing.entropy = 'seed'  # or 'os': fresh keys from the system
  config.sharing.prime = 2**31 - 1  # 2**22 - 3 = 4194301 makes shorter words
  # A sum over fewer clients is not opened, and weights of a defence under which
  # it hides fewer are lowered (federated/hiding.py); not read in the clear.
  config.sharing.min_contributors = 2
  config.sharing.value_bits = 8  # of a value, sign included
  config.sharing.clip = 0.25  # largest magnitude of a weighted update's entry
  # Fewer answers open nothing; 0: k. More than k let wrong ones be noticed.
  config.sharing.min_answers = 0
  # Finds wrong sums if more than k servers answer; 'clients' checks what
  # clients deal, too; 'none' opens from any k. Not with reveal='updates'.
  config.sharing.audit = 'servers'

  # Who fails; clients past a deadline are a matter of profiles, above.
  config.faults = ConfigDict()
  # Drawn anew for every round: a client never reports, a server does not
  # answer, a server adds random words to its sum.
  config.faults.client_dropout_probability = 0.0
  config.faults.server_dropout_probability = 0.0
  config.faults.server_corruption_probability = 0.0
  config.faults.missing_servers = ()  # numbers in 1 .. N that never answer
  config.faults.lying_servers = ()  # always add random words to their sums
  config.faults.inconsistent_clients = ()  # deal server N a wrong share
  # Too few servers answer, or too many lie, to open the sum: stop, skip (the
  # model stays, but for pruning), retry (other clients and keys, then skip).
  # Only retry minds that fewer than sharing.min_contributors clients report.
  config.faults.on_failed_round = 'stop'
  config.faults.max_retries = 3

  config.attack = ConfigDict()
  config.attack.malicious = 0.0  # fraction of all clients an attacker controls
  config.attack.data = 'none'  # label_flip, backdoor: what they train on
  config.attack.updates = 'none'  # a key of attacks.updates.UPDATE_ATTACKS
  config.attack.args = ConfigDict(  # of each attack
    {
      'backdoor': {'target': 0, 'fraction': 0.5, 'size': 3},
      'sign_flip': {'scale': 1.0},
      'gaussian': {'deviation_factor': 10.0},
      'scaling': {'factor': 10.0},
      # Chosen from how many clients there are, if None.
      'alie': {'deviations': config_dict.placeholder(float)},
      'ipm': {'epsilon': 0.1},
      'min_max': {'direction': 'unit'},
      'min_sum': {'direction': 'unit'},
      'mimic': {'target': 'variance'},
    }
  )

  config.defence = ConfigDict()
  # A key of defences.GRAM_RULES or, where the central server sees every update,
  # of COORDINATE_RULES. Needs cohort.weighting='clients'.
  config.defence.name = 'none'
  config.defence.pre_steps = ()  # nnm, bucketing, in the order they are taken
  config.defence.num_malicious = 0  # f, clients of a round it is to bear
  # Linear combinations of each update that are opened with reveal='sum'.
  # Squared norms and distances have a standard deviation of a fraction of up to
  # sqrt(2 * secrets_per_polynomial / sketch_size), norms of half of that.
  config.defence.sketch_size = 1024
  config.defence.root_examples = 100  # of fltrust, drawn from the training set
  config.defence.args = ConfigDict(
    {
      'geometric_median': {'iterations': 8, 'smoothing': 1e-6},
      'centred_clipping': {'iterations': 5, 'radius_factor': 1.0},
      'norm_bound': {'factor': 1.0},
      'fltrust': {'max_scale': 10.0},  # of short updates; 1e30: no bound
      'bucketing': {'size': 2},
    }
  )

  config.eval = ConfigDict()
  config.eval.every_rounds = 1  # the last round is always evaluated
  config.eval.batch_size = 1000

  config.checkpoint = ConfigDict()
  # A killed run goes on from the last one; 0: none, it begins anew.
  config.checkpoint.every_rounds = 10  # the last round always has one
  config.checkpoint.keep = 2  # the last ones of each run

  # How fast, never what; see fps_jax.federated.sums on float rounding.
  config.perf = ConfigDict()
  config.perf.chunk_size = Performance.chunk_size  # 0: chosen
  config.perf.execution = Performance.execution  # auto, vmap, sequential
  config.perf.num_devices = Performance.num_devices  # 0: all there are
  return open_sections.lock(config)


def compare_methods(config: ConfigDict, names: str = '') -> None:
  """Sets the variants of a config, in place, to methods that are compared.

  Args:
    config: the config.
    names: keys of `METHODS`, separated by `+`, the baseline first; empty for
      the four of `FOUR_METHODS`.

  Raises:
    ValueError: if a name is unknown.
  """
  choose(config, METHODS, names or '+'.join(FOUR_METHODS))


def compare_sparsities(
  config: ConfigDict, sparsities: Sequence[float], names: str = ''
) -> None:
  """Sets the variants of a config to FedAvg and FedPruneShare, in place.

  Args:
    config: the config.
    sparsities: of FedPruneShare; 0.9 is the variant `fedpruneshare_90`.
    names: of the variants that run, separated by `+`; empty for all.

  Raises:
    ValueError: if a name is unknown.
  """
  variants: dict[str, Any] = {'fedavg': METHODS['fedavg']}
  for sparsity in sparsities:
    name = f'fedpruneshare_{100 * sparsity:g}'
    variants[name] = {'pruning': {'sparsity': sparsity}}
  choose(config, variants, names)


def choose(
  config: ConfigDict, variants: Mapping[str, Mapping[str, Any]], names: str = ''
) -> None:
  """Sets the variants of a config, in place, and the first as the baseline.

  Args:
    config: the config.
    variants: what each sets of the config, by name.
    names: of the variants that run, separated by `+`; empty for all.

  Raises:
    ValueError: if a name is unknown.
  """
  chosen = names.split('+') if names else list(variants)
  for name in chosen:
    if name not in variants:
      raise ValueError(f'method {name!r} is not one of {list(variants)}')
    config.variants[name] = variants[name]
  config.baseline = chosen[0]


def learn_cifar10(config: ConfigDict) -> None:
  """Sets data, model and training, in place, to CIFAR-10 on two CPU cores.

  A convolutional network with GroupNorm and 256 dense units, 321,450
  parameters; 10 of 100 clients a round, one local epoch in batches of 20,
  learning rate 0.05.
  """
  config.data.source = 'cifar10'
  config.data.pixel_mean = 0.47
  config.data.pixel_std = 0.25
  config.model.name = 'cifar_cnn'
  config.model.args.cifar_cnn.hidden = 256
  config.client.learning_rate = 0.05
  config.client.batch_size = 20
  config.cohort.size = 10


def share_in_short_words(config: ConfigDict) -> None:
  """Packs two values into words of 22 bits, in place: for small cohorts.

  Of five servers any four open; three of them are sent words, two a seed.
  """
  config.sharing.threshold = 4
  config.sharing.secrets_per_polynomial = 2
  config.sharing.prime = 4194301
  # A word is as long for fewer: ten clients' sums fit.
  config.sharing.value_bits = 14


def tiny(config: ConfigDict) -> None:
  """Shrinks a config, in place, to seconds: for tests and first tries."""
  config.data.source = 'fake'
  config.num_rounds = 3
  config.data.num_clients = min(8, config.data.num_clients)
  config.cohort.size = min(8, config.cohort.size)
  config.pruning.begin_round = 0
  config.pruning.end_round = 2


def parse_arguments(text: str | None, **defaults: Any) -> ConfigDict:
  """Parses what follows the colon in `--config=FILE.py:seeds=3,tiny`.

  The name of a bool alone means True. A value takes the type of its default.

  Args:
    text: the arguments, separated by commas, or None.
    **defaults: every argument that the config knows: bools, numbers, strings.

  Returns:
    A `ConfigDict` of the arguments.

  Raises:
    ValueError: if an argument is unknown or its value has another type.

  Example:
    >>> parse_arguments('seeds=3,tiny', seeds=1, tiny=False).to_dict()
    {'seeds': 3, 'tiny': True}
  """
  arguments = ConfigDict(defaults)
  for item in filter(None, (text or '').split(',')):
    name, separator, value = item.partition('=')
    if name not in defaults:
      raise ValueError(
        f'config argument {name!r} is not one of {sorted(defaults)}'
      )
    if not separator and not isinstance(defaults[name], bool):
      raise ValueError(f'config argument {name!r} needs a value: {name}=...')
    arguments[name] = _convert(name, value if separator else 'true', defaults)
  return arguments


def _convert(name: str, value: str, defaults: dict[str, Any]) -> Any:
  kind = type(defaults[name])
  if kind is bool:
    if value.lower() not in ('true', 'false'):
      raise ValueError(
        f'config argument {name}={value!r} must be true or false'
      )
    return value.lower() == 'true'
  try:
    return kind(value)
  except ValueError as error:
    raise ValueError(
      f'config argument {name}={value!r} must be of type {kind.__name__}'
    ) from error
