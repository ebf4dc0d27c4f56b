"""What the job measures: one view of one kind of round a case."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping

import jax
from ml_collections import ConfigDict

from fps_jax.jobs.inversion import views
from fps_jax.jobs.inversion.model import PERCEPTRON
from fps_jax.jobs.inversion.views import View
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir

_NETWORK_TITLES: Mapping[str, str] = {
  PERCEPTRON: 'Perceptron',
  'lenet': 'LeNet',
  'lenet_relu': 'LeNet with ReLU',
}
# Of the public buckets and signs of sketches.
_SKETCH_SEED = 0


@dataclasses.dataclass(frozen=True)
class Case:
  """A round, what is seen of it, and how images are made of that.

  Attributes:
    name: in results.
    title: in tables and figures.
    view: what is seen.
    smoothness: weight of the total variation in the search.
    method: `'search'`, `'divide'` (see `fps_jax.jobs.inversion.search`) or
      `'class_mean'`, which looks at the labels alone.
    num_clients: whose updates are added.
    sparsity: fraction of all parameters that is pruned.
    num_steps: of each client.
    network: the model, one of `fps_jax.jobs.inversion.model.NETWORKS`.
    trained_steps: of honest training that the model has behind it.
    by_layer: whether the search compares updates layer by layer.
  """

  name: str
  title: str
  view: View
  smoothness: float = 0.0
  method: str = 'search'
  num_clients: int = 1
  sparsity: float = 0.0
  num_steps: int = 1
  network: str = PERCEPTRON
  trained_steps: int = 0
  by_layer: bool = False


def make_cases(config: ConfigDict) -> list[Case]:
  """Returns the cases of a config.

  Args:
    config: see `experiments/inversion.py`.

  Returns:
    Those of every view of the untrained perceptron; or, where the config names
    networks, a few of each of these; or, where it has noise multipliers, views
    under such noise.

  Raises:
    ValueError: if a scheme does not exist, leaves no server without knowledge,
      or its sums do not fit the field; or there are networks and noise.
  """
  settings = config.inversion
  if settings.noise_multipliers:
    return list(_under_noise(settings))
  field = PrimeField(config.sharing.prime)
  schemes = [Shamir(field, *numbers) for numbers in settings.servers]
  codecs = _make_codecs(config, field)
  opened = {bits: views.opened(codecs[bits], schemes[0]) for bits in codecs}
  if settings.networks:
    return list(_of_networks(settings, opened))
  bits, smoothness = settings.roundings[-1]
  of_shares = [_of_shares(s, codecs[bits], smoothness) for s in schemes]
  return [
    *_of_plain(settings),
    *(
      Case(
        f'opened_{b}_bits', f'Opened update, {b}-bit values', opened[b], weight
      )
      for b, weight in settings.roundings
    ),
    *itertools.chain.from_iterable(of_shares),
    Case('noise', 'Noise, no update', views.noise(), smoothness),
    Case(
      'class_mean',
      'Mean image of each label, no update',
      views.noise(),
      method='class_mean',
    ),
    *_of_sums(settings, opened),
    *_of_pruned_and_sketched(settings),
    Case(
      'fedpruneshare',
      f'Sum of {settings.joint_clients} clients, '
      f'{100 * settings.joint_sparsity:g} % pruned, {bits}-bit values',
      opened[bits],
      smoothness,
      num_clients=settings.joint_clients,
      sparsity=settings.joint_sparsity,
    ),
  ]


def _make_codecs(config: ConfigDict, field: PrimeField) -> dict[int, Codec]:
  """Returns what values are rounded by, by how many bits they have."""
  settings = config.inversion
  return {
    bits: Codec(
      field=field,
      clip=config.sharing.clip,
      value_bits=bits,
      max_clients=max((*settings.clients, settings.joint_clients)),
      max_count=1,
    )
    for bits, _ in settings.roundings
  }


def _under_noise(settings: ConfigDict) -> Iterator[Case]:
  if settings.networks:
    raise ValueError(
      f'inversion.networks={settings.networks} and '
      f'inversion.noise_multipliers={settings.noise_multipliers}: noise is '
      'attacked of the untrained perceptron alone; set one of them to ()'
    )
  _, smoothness = settings.roundings[-1]
  for number in dict.fromkeys((1, settings.joint_clients)):
    title = f'Sum of {number} clients' if number > 1 else 'Update'
    for multiplier in settings.noise_multipliers:
      yield Case(
        f'noised_{multiplier:g}_{number}_clients',
        f'{title}, noise multiplier {multiplier:g}',
        views.noised(multiplier),
        smoothness if multiplier else settings.plain_smoothness,
        num_clients=number,
      )


def _of_plain(settings: ConfigDict) -> Iterator[Case]:
  plain = functools.partial(Case, view=views.plain())
  smoothness = settings.plain_smoothness
  yield plain('plain', 'Plain update', smoothness=smoothness)
  yield plain('plain_divided', 'Plain update, solved exactly', method='divide')
  for steps in settings.local_steps:
    yield plain(
      f'plain_{steps}_steps',
      f'Plain update, {steps} local steps',
      smoothness=smoothness,
      num_steps=steps,
    )


def _of_networks(
  settings: ConfigDict, opened: Mapping[int, View]
) -> Iterator[Case]:
  """Yields a few views of each network, of what they reveal if untrained."""
  (fine, fine_weight), (coarse, coarse_weight) = (
    settings.roundings[0],
    settings.roundings[-1],
  )
  exact = settings.plain_smoothness
  several, sparsity = settings.joint_clients, settings.joint_sparsity
  seen = f'sum of {several} clients' if several > 1 else 'opened update'
  for network, steps in settings.networks:
    case = functools.partial(Case, network=network, trained_steps=steps)
    name = f'{network}_{steps}'
    title = f'{_NETWORK_TITLES[network]}, ' + (
      f'trained for {steps:,} steps' if steps else 'untrained'
    )
    # Of untrained layers of sigmoids the last one's update drowns that of the
    # first, which tells most of the images; rounded coarsely, it is noise.
    by_layer = network == 'lenet' and not steps
    yield case(f'{name}_plain', f'{title}: plain update', views.plain(), exact)
    if network != PERCEPTRON:
      yield case(
        f'{name}_by_layer',
        f'{title}: plain update, compared by layer',
        views.plain(),
        exact,
        by_layer=True,
      )
    else:
      yield case(
        f'{name}_divided',
        f'{title}: plain update, solved exactly',
        views.plain(),
        method='divide',
      )
    yield case(
      f'{name}_opened',
      f'{title}: opened update, {coarse}-bit values',
      opened[coarse],
      coarse_weight,
    )
    yield case(
      f'{name}_sum',
      f'{title}: {seen}, {fine}-bit values',
      opened[fine],
      fine_weight,
      num_clients=several,
      by_layer=by_layer,
    )
    yield case(
      f'{name}_fedpruneshare',
      f'{title}: {seen}, {100 * sparsity:g} % pruned, {coarse}-bit values',
      opened[coarse],
      coarse_weight,
      num_clients=several,
      sparsity=sparsity,
    )


def _of_shares(
  scheme: Shamir, codec: Codec, smoothness: float
) -> Iterator[Case]:
  numbers = (
    scheme.num_servers,
    scheme.threshold,
    scheme.secrets_per_polynomial,
  )
  name = 'of_' + '_'.join(map(str, numbers))
  title = 'Shares of {} of {} servers (k = {}, l = {})'
  yield Case(
    f'shares_{scheme.num_random}_{name}',
    title.format(scheme.num_random, *numbers),
    views.below_t(codec, scheme),
    smoothness,
  )
  if scheme.secrets_per_polynomial > 1:
    yield Case(
      f'shares_{scheme.threshold - 1}_{name}',
      title.format(scheme.threshold - 1, *numbers),
      views.one_below_k(codec, scheme),
      smoothness,
    )


def _of_sums(
  settings: ConfigDict, opened: Mapping[int, View]
) -> Iterator[Case]:
  bits, smoothness = settings.roundings[0]
  for number in settings.clients:
    yield Case(
      f'sum_{number}_clients',
      f'Sum of {number} clients, {bits}-bit values',
      opened[bits],
      smoothness,
      num_clients=number,
    )


def _of_pruned_and_sketched(settings: ConfigDict) -> Iterator[Case]:
  for sparsity in settings.sparsities:
    percent = f'{100 * sparsity:g}'
    yield Case(
      f'pruned_{percent}',
      f'Plain update, {percent} % pruned',
      views.plain(),
      settings.plain_smoothness,
      sparsity=sparsity,
    )
  for rows, smoothness in settings.sketches:
    yield Case(
      f'sketch_{rows}',
      f'Sketch of {rows} sums, and range check',
      views.sketched(rows, jax.random.key(_SKETCH_SEED)),
      smoothness,
    )
