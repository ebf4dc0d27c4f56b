"""What settings of sharing come to: who learns more, who goes unnoticed."""

import dataclasses
import operator
from collections.abc import Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict

from fps_jax import defences
from fps_jax.config.sections.defence import sketches
from fps_jax.config.sections.sharing import (
  clients_add_noise,
  is_shared,
  make_codec,
  make_shamir,
  min_answers,
  scheme_of,
)
from fps_jax.federated.robust.weigh import most_weight
from fps_jax.runs.simulation import Simulation
from fps_jax.sharing.codec import levels_of
from fps_jax.sharing.field import PrimeField, largest_prime

# Of an equal part of all weight, what rounding to an integer may cost.
_COARSE = 0.05
# Of what rounding adds to the mean update, its standard deviation. The bundled
# sample loses a point of accuracy at 0.009 (3 bits, 20 clients), nothing at
# 0.004.
_MUCH_NOISE = 0.008
# Of a word. How long it must be depends on the largest client of a seed: a bit
# more lets other seeds run, too.
_MUCH_SHORTER = 0.1
_SERVER_FAULTS = (
  'missing_servers',
  'lying_servers',
  'inconsistent_clients',
  'server_dropout_probability',
  'server_corruption_probability',
)


def before_run(
  config: ConfigDict, simulations: Sequence[Simulation]
) -> Iterator[str]:
  """Yields a line for each setting of sharing that may not be what was meant.

  Args:
    config: of one variant, valid.
    simulations: its runs, one for each seed.
  """
  if scheme_of(config).has_codec and not clients_add_noise(config):
    yield from _rounding(config)
  if not is_shared(config):
    return
  yield from _privacy(config)
  if config.sharing.reveal == 'sum':
    yield from _lone_client(config)
    yield from _largest_client(config, simulations)
  yield from _weights(config, simulations[0])
  yield from _reports(config)
  if not scheme_of(config).has_servers:
    yield from _ideal(config)
  elif config.sharing.reveal == 'sum':
    yield from _answers(config)
    yield from _lies(config)


def effective_contributors(
  counts: Sequence[int] | np.ndarray, cohort_size: int
) -> float:
  """Returns among how many clients like it the largest one's update is hidden.

  A sum weighs every update by its client's examples. As noise to the largest
  one, the others count by their squares: the sum of all squared counts over the
  largest one, for a cohort of the largest client and an average of the others.
  At least 1; `cohort_size` where all counts are equal.

  Args:
    counts: examples of every client, at least 1 each.
    cohort_size: clients of a round, at most as many.
  """
  squares = np.sort(np.asarray(counts, np.float64) ** 2)
  if len(squares) == 1:
    return 1.0
  others, largest = squares[:-1], squares[-1]
  return float(1 + (cohort_size - 1) * others.mean() / largest)


def shorter_words(
  config: ConfigDict, simulations: Sequence[Simulation]
) -> str | None:
  """Returns how to send shorter words, in a line; None if they are shortest.

  Sketches and noise need longer words than sums alone: of these it says
  nothing, nor of less than a tenth. Arguments are as of `before_run`.
  """
  if not is_shared(config) or sketches(config) or clients_add_noise(config):
    return None
  most = max(run.planner.max_count for run in simulations)
  codec, shamir = make_codec(config, most), make_shamir(config.sharing)
  bits = shamir.field.bits
  for fewer in range(2, int((1 - _MUCH_SHORTER) * bits) + 1):
    field = PrimeField(largest_prime(fewer))
    try:
      dataclasses.replace(codec, field=field)
      dataclasses.replace(shamir, field=field)
    except ValueError:
      continue
    return (
      f'words have {bits} bits, and {fewer} hold every sum: sharing.prime='
      f'{field.modulus} makes shares {100 * (1 - fewer / bits):.0f} % shorter'
    )
  return None


def _rounding(config: ConfigDict) -> Iterator[str]:
  """Compares what rounding adds with what weights are like."""
  sharing, size = config.sharing, config.cohort.size
  step = sharing.clip / levels_of(sharing.value_bits)
  noise = step / 2 / size**0.5
  if noise > _MUCH_NOISE:
    yield (
      f'sharing.value_bits={sharing.value_bits} with sharing.clip='
      f'{sharing.clip} rounds values to multiples of {step:.2g}: in every '
      f'round the mean of cohort.size={size} clients is off by about '
      f'{noise:.2g} in every parameter, many of which start out below 0.1; '
      'raise value_bits or lower the clip'
    )


def _privacy(config: ConfigDict) -> Iterator[str]:
  threshold = config.sharing.threshold
  if threshold == config.sharing.secrets_per_polynomial:
    learnt = 'all of every update' if threshold == 1 else 'part of every update'
    yield (
      f'sharing.threshold={threshold} with secrets_per_polynomial={threshold} '
      'leaves t = k - l = 0 servers that learn nothing: each of them alone '
      f'learns {learnt}; raise the threshold or lower secrets_per_polynomial'
    )


def _lone_client(config: ConfigDict) -> Iterator[str]:
  may_be_alone = (
    config.cohort.size == 1
    or config.faults.client_dropout_probability
    or config.profiles.deadline_seconds
  )
  if config.sharing.min_contributors == 1 and may_be_alone:
    yield (
      'sharing.min_contributors=1 opens the update of a client that reports '
      'alone: raise it'
    )


def _largest_client(
  config: ConfigDict, simulations: Sequence[Simulation]
) -> Iterator[str]:
  if config.cohort.weighting != 'examples':
    return
  least, size = config.sharing.min_contributors, config.cohort.size
  hidden, counts = min(
    (
      (effective_contributors(counts, size), counts)
      for counts in (run.planner.num_examples for run in simulations)
    ),
    key=operator.itemgetter(0),
  )
  if hidden < least:
    yield (
      f'one client has {counts.max()} of {counts.sum()} examples, and '
      "cohort.weighting='examples' weighs it by them. It is hidden as among "
      f'{hidden:.2f} clients like it, fewer than sharing.min_contributors='
      f'{least}: the sum may give its update away. Set cohort.weighting='
      "'clients', take a less uneven data.partition, or raise cohort.size="
      f'{size}'
    )


def _weights(config: ConfigDict, run: Simulation) -> Iterator[str]:
  if not sketches(config):
    return
  most, size = most_weight(run.protocol), config.cohort.size
  if size > _COARSE * most:
    yield (
      f'sharing.prime={config.sharing.prime} with value_bits='
      f'{config.sharing.value_bits} lets the integer weights of a defence add '
      f'up to {most} at most: of cohort.size={size} clients, each is rounded '
      f'by up to {100 * size / most:.0f} % of an equal part; use a larger '
      'prime or fewer value_bits'
    )


def _reports(config: ConfigDict) -> Iterator[str]:
  """Compares who reports on average with how many have to."""
  dropout, defence = config.faults.client_dropout_probability, config.defence
  least, size = config.sharing.min_contributors, config.cohort.size
  reporting = size * (1 - dropout)
  leaves = (
    f'faults.client_dropout_probability={dropout} leaves {reporting:.1f} of '
    f'cohort.size={size} clients on average'
  )
  if reporting < least:
    yield (
      f'{leaves}, fewer than sharing.min_contributors={least}: most sums are '
      'not opened'
    )
  if defence.name != 'none':
    try:
      defences.check(
        defence.name,
        defence.num_malicious,
        max(1, int(reporting)),
        defence.pre_steps,
        defence.args.to_dict(),
      )
    except ValueError as error:
      yield f'{leaves}: {error}'


def _ideal(config: ConfigDict) -> Iterator[str]:
  named = [
    f'faults.{name}={config.faults[name]}'
    for name in _SERVER_FAULTS
    if config.faults[name]
  ]
  if named:
    yield (
      f'{", ".join(named)} does nothing with sharing.scheme='
      f"{config.sharing.scheme!r}, which shares nothing: use 'shamir'"
    )


def _answers(config: ConfigDict) -> Iterator[str]:
  """Compares the servers that answer on average with how many have to."""
  dropout = config.faults.server_dropout_probability
  least = min_answers(config)
  expected = _most_answers(config) * (1 - dropout)
  if expected < least:
    yield (
      f'faults.server_dropout_probability={dropout} leaves {expected:.1f} '
      f'answers on average, fewer than the {least} that a sum is opened from: '
      'most rounds fail; add servers, or lower sharing.min_answers or the '
      'threshold'
    )


def _lies(config: ConfigDict) -> Iterator[str]:
  """Compares the answers that a round may be opened from with what may lie."""
  sharing, faults = config.sharing, config.faults
  threshold, most = sharing.threshold, _most_answers(config)
  corruption = faults.server_corruption_probability
  lying = set(faults.lying_servers) - set(faults.missing_servers)
  named = (
    f'faults.lying_servers={faults.lying_servers} and '
    f'server_corruption_probability={corruption}'
  )
  if sharing.audit == 'none':
    if lying or corruption:
      yield (
        f"sharing.audit='none' with {named} opens wrong sums as if they were "
        "right: use audit='servers'"
      )
    return
  answers = most
  if faults.server_dropout_probability:
    answers = min_answers(config)
  wrong, spare = max(len(lying), int(corruption * most)), answers - threshold
  if not spare:
    yield (
      f'sharing.audit={sharing.audit!r} notices no wrong answer of a round '
      f'that is opened from {answers}, as many as sharing.threshold: '
      f'{_more_answers(threshold, most)}'
    )
  elif 2 * wrong > spare:
    effect = 'may have a wrong sum accepted'
    if wrong <= spare:
      effect = (
        'are noticed, but not corrected, and rounds fail (faults.'
        f'on_failed_round={faults.on_failed_round!r})'
      )
    yield (
      f'{named}: {wrong} wrong answers of {answers} {effect}: it takes '
      f'{threshold + wrong} to notice them and {threshold + 2 * wrong} to '
      f'correct them; add servers, or lower sharing.threshold={threshold}'
    )


def _most_answers(config: ConfigDict) -> int:
  return config.sharing.num_servers - len(config.faults.missing_servers)


def _more_answers(threshold: int, most: int) -> str:
  """Returns what lets a wrong answer be noticed, if not corrected."""
  if most == threshold:
    return 'add servers or lower the threshold'
  correct = f', or {threshold + 2} to correct one' * (most > threshold + 1)
  return f'set sharing.min_answers={threshold + 1}{correct}'
