"""What the job measures: one view of one kind of round a case."""

import dataclasses
from collections.abc import Iterator

import jax
from ml_collections import ConfigDict

from fps_jax.jobs.privacy import views
from fps_jax.jobs.privacy.views import View
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir

# Of the public buckets and signs of sketches.
_SKETCH_SEED = 0


@dataclasses.dataclass(frozen=True)
class Case:
  """A round, what is seen of it, and how images are made of that.

  Attributes:
    name: in results.
    title: in tables and figures.
    view: what is seen.
    method: `'search'`, `'divide'` (see `fps_jax.jobs.privacy.inversion`) or
      `'class_mean'`, which looks at the labels alone.
    num_clients: whose updates are added.
    sparsity: fraction of all parameters that is pruned.
    num_steps: of each client.
    smoothness: weight of the total variation in the search.
  """

  name: str
  title: str
  view: View
  method: str = 'search'
  num_clients: int = 1
  sparsity: float = 0.0
  num_steps: int = 1
  smoothness: float = 0.0


def make_cases(config: ConfigDict) -> list[Case]:
  """Returns the cases of a config.

  Args:
    config: see `experiments/privacy.py`.

  Raises:
    ValueError: if a scheme does not exist, leaves no server without knowledge,
      or its sums do not fit the field.
  """
  return [
    *_plain_cases(config),
    *_opened_cases(config),
    *_share_cases(config),
    *_baselines(config),
    *_sum_cases(config),
    *_pruned_cases(config),
    *_sketched_cases(config),
    *_joint_cases(config),
  ]


def make_codec(config: ConfigDict, value_bits: int) -> Codec:
  """Returns the codec of the clients' values."""
  return Codec(
    field=PrimeField(config.sharing.prime),
    clip=config.sharing.clip,
    value_bits=value_bits,
    max_clients=max((*config.privacy.clients, config.privacy.joint_clients)),
    max_count=1,
  )


def make_schemes(config: ConfigDict) -> list[Shamir]:
  """Returns the sharing schemes; sums are opened from the first."""
  field = PrimeField(config.sharing.prime)
  return [Shamir(field, *numbers) for numbers in config.privacy.servers]


def _plain_cases(config: ConfigDict) -> Iterator[Case]:
  view, settings = views.plain(), config.privacy
  smoothness = settings.plain_smoothness
  yield Case('plain', 'Plain update', view, smoothness=smoothness)
  yield Case('plain_divided', 'Plain update, closed form', view, 'divide')
  for steps in settings.local_steps:
    title = f'Plain update, {steps} local steps'
    yield Case(
      f'plain_{steps}_steps',
      title,
      view,
      num_steps=steps,
      smoothness=smoothness,
    )


def _opened_cases(config: ConfigDict) -> Iterator[Case]:
  scheme = make_schemes(config)[0]
  for bits, smoothness in config.privacy.roundings:
    yield Case(
      f'opened_{bits}_bits',
      f"reveal='updates', {bits} bits",
      views.opened(make_codec(config, bits), scheme),
      smoothness=smoothness,
    )


def _share_cases(config: ConfigDict) -> Iterator[Case]:
  bits, smoothness = config.privacy.roundings[-1]
  codec = make_codec(config, bits)
  for scheme in make_schemes(config):
    numbers = (
      scheme.num_servers,
      scheme.threshold,
      scheme.secrets_per_polynomial,
    )
    name = 'of_' + '_'.join(map(str, numbers))
    yield Case(
      f'shares_{scheme.num_random}_{name}',
      f't = {scheme.num_random} servers of {numbers}',
      views.below_t(codec, scheme),
      smoothness=smoothness,
    )
    if scheme.secrets_per_polynomial > 1:
      yield Case(
        f'shares_{scheme.threshold - 1}_{name}',
        f'k - 1 = {scheme.threshold - 1} servers of {numbers}',
        views.one_below_k(codec, scheme),
        smoothness=smoothness,
      )


def _baselines(config: ConfigDict) -> Iterator[Case]:
  view = views.noise()
  smoothness = config.privacy.roundings[-1][1]
  yield Case('noise', 'Noise, no update', view, smoothness=smoothness)
  yield Case('class_mean', 'Class means, no update', view, 'class_mean')


def _sum_cases(config: ConfigDict) -> Iterator[Case]:
  bits, smoothness = config.privacy.roundings[0]
  view = views.opened(make_codec(config, bits), make_schemes(config)[0])
  for number in config.privacy.clients:
    yield Case(
      f'sum_{number}_clients',
      f'Sum of {number} clients, {bits} bits',
      view,
      num_clients=number,
      smoothness=smoothness,
    )


def _pruned_cases(config: ConfigDict) -> Iterator[Case]:
  for sparsity in config.privacy.sparsities:
    percent = f'{100 * sparsity:g}'
    yield Case(
      f'pruned_{percent}',
      f'Plain update, {percent} % pruned',
      views.plain(),
      sparsity=sparsity,
      smoothness=config.privacy.plain_smoothness,
    )


def _sketched_cases(config: ConfigDict) -> Iterator[Case]:
  for rows, smoothness in config.privacy.sketches:
    key = jax.random.key(_SKETCH_SEED)
    yield Case(
      f'sketch_{rows}',
      f'Sketch of {rows} sums, range check',
      views.sketched(rows, key),
      smoothness=smoothness,
    )


def _joint_cases(config: ConfigDict) -> Iterator[Case]:
  settings = config.privacy
  bits, smoothness = settings.roundings[-1]
  percent = 100 * settings.joint_sparsity
  yield Case(
    'fedpruneshare',
    f'Sum of {settings.joint_clients}, {percent:g} % pruned, {bits} bits',
    views.opened(make_codec(config, bits), make_schemes(config)[0]),
    num_clients=settings.joint_clients,
    sparsity=settings.joint_sparsity,
    smoothness=smoothness,
  )
