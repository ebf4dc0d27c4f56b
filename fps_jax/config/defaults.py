"""The default config, and what configs build on.

A config file under `experiments/` calls `default()`, changes what it studies
and returns the result. The defaults are FedPruneShare itself; baselines switch
parts of it off, so that an override on the command line reaches every variant
that has the part.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict, config_dict

from fps_jax.config.section import Section
from fps_jax.config.sections import JOB_SECTIONS, OPEN_SECTIONS, SECTIONS

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
# No config that trains a part makes a baseline do so.
_TRAINS_ALL = {'schedule': 'none', 'trained_fraction': 1.0}
# The four methods that are compared, as overrides of the config.
FOUR_METHODS: dict[str, dict[str, dict[str, Any]]] = {
  'fedavg': {'pruning': _TRAINS_ALL, 'sharing': {'scheme': 'none'}},
  'pruning': {'sharing': {'scheme': 'none'}},
  'sharing': {'pruning': _TRAINS_ALL},
  'fedpruneshare': {},
}
_SINGLE_THRESHOLD = {'scope': 'global', 'server': 'sparse'}
_OWN_MASK = {**_SINGLE_THRESHOLD, 'trained_fraction': 1.0}
# Others, to tell what each part buys.
METHODS: dict[str, dict[str, dict[str, Any]]] = {
  **FOUR_METHODS,
  'quantisation': {
    'pruning': _TRAINS_ALL,
    'sharing': {'scheme': 'quantised'},
  },
  'pruning_quantisation': {'sharing': {'scheme': 'quantised'}},
  # As the paper has it: the largest weights of all layers, and no memory.
  'single_threshold': {'pruning': _SINGLE_THRESHOLD},
  # Shares of different positions cannot be packed; sums are those of shamir.
  'local_masks': {
    'pruning': {'mask': 'local', **_OWN_MASK},
    'sharing': {'scheme': 'ideal', 'secrets_per_polynomial': 1},
  },
  'top_k': {
    'pruning': {'mask': 'top_k', **_OWN_MASK},
    'sharing': {'scheme': 'none'},
  },
}


def default(method: str = 'fedpruneshare') -> ConfigDict:
  """Returns the default config of a method, on the bundled MNIST sample.

  It is locked, but for `sections.OPEN_SECTIONS`: only fields that there are can
  be set.

  Args:
    method: a key of `METHODS`.

  Raises:
    ValueError: if there is no such method.
  """
  if method not in METHODS:
    raise ValueError(f'method {method!r} is not one of {list(METHODS)}')
  config = ConfigDict()
  # Named overrides of this config, but not of STUDY_FIELDS; each is a method in
  # the report. Empty: the config itself is the one method. A name may have a
  # dot: fedpruneshare_97.5.
  config.variants = ConfigDict(sort_keys=False, allow_dotted_keys=True)
  for section in SECTIONS.values():
    _add(config, section)
  config.update(METHODS[method])
  return _lock(config)


def add_section(config: ConfigDict) -> None:
  """Adds the section that its job alone knows to a config, in place.

  Args:
    config: of `default`; its `job` is a key of `sections.JOB_SECTIONS`.
  """
  config.unlock()
  _add(config, JOB_SECTIONS[config.job])
  _lock(config)


def _add(config: ConfigDict, section: Section) -> None:
  """Sets the fields of a section to their defaults."""
  for name in section.fields:
    *parts, last = section.path(name).split('.')
    inner = config
    for part in parts:
      if part not in inner:
        inner[part] = ConfigDict()
      inner = inner[part]
    default = section.fields[name].default
    # A placeholder is a reference, which no two configs may share.
    is_none = isinstance(default, type)
    inner[last] = config_dict.placeholder(default) if is_none else default


def _lock(config: ConfigDict) -> ConfigDict:
  """Locks a config in place, but for `OPEN_SECTIONS`, and returns it.

  A misspelt field is an error where it is assigned, then.
  """
  config.lock()
  for path in OPEN_SECTIONS:
    section: Any = config
    for part in path.split('.'):
      section = section[part]
    section.unlock()
  return config


def prune_by_single_threshold(config: ConfigDict) -> None:
  """Sets pruning, in place, to one threshold for all layers, as in the paper.

  The central server forgets what is pruned.
  """
  config.pruning.update(_SINGLE_THRESHOLD)


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
  config.data.pixel_mean = (0.47,)
  config.data.pixel_std = (0.25,)
  config.model.name = 'cifar_cnn'
  config.model.args.cifar_cnn.hidden = 256
  config.client.learning_rate = 0.05
  config.client.batch_size = 20
  config.cohort.size = 10


def learn_cifar10_for_long(config: ConfigDict) -> None:
  """Sets data and training, in place, to as many rounds as learning takes.

  Pixels are standardised by channel and images changed at random; 10 of 100
  clients a round, one local epoch in batches of 20; the learning rate falls as
  a cosine over the rounds.
  """
  config.data.source = 'cifar10'
  # Of the training set, by channel.
  config.data.pixel_mean = (0.4914, 0.4822, 0.4465)
  config.data.pixel_std = (0.2470, 0.2435, 0.2616)
  config.cohort.size = 10
  config.client.batch_size = 20
  config.client.schedule = 'cosine'
  config.client.augmentation = 'crop_flip'
  config.eval.every_rounds = 20
  config.eval.batch_size = 100


def share_in_short_words(
  config: ConfigDict, prime: int = 4194301, value_bits: int = 14
) -> None:
  """Packs two values into short words, in place: for small cohorts.

  Of five servers any four open; three of them are sent words, two a seed.

  Args:
    config: the config.
    prime: of words, the default of 22 bits.
    value_bits: of a value; the default's sums over ten clients fit 22 bits.
  """
  config.sharing.threshold = 4
  config.sharing.secrets_per_polynomial = 2
  config.sharing.prime = prime
  config.sharing.value_bits = value_bits


def tiny(config: ConfigDict) -> None:
  """Shrinks a config, in place, to seconds: for tests and first tries."""
  config.smoke_test = True
  config.data.source = 'fake'
  # Its images have one channel.
  config.data.pixel_mean, config.data.pixel_std = (0.0,), (1.0,)
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
