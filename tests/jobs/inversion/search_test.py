"""Tests of `fps_jax.jobs.inversion.search`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax.jobs.inversion import metrics, search, views
from fps_jax.jobs.inversion import model as models
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir
from tests.helpers.references import inversion as reference

_SHAPE = (8, 8, 1)
_LABELS_CxB = jnp.array([[1]])
_MODEL = models.make_model(_SHAPE, num_classes=3, width=8)
_UPDATE = jax.jit(models.make_local_update(_MODEL.apply, 0.1, num_steps=1))
_PARAMS_D = _MODEL.init(jax.random.key(0))
_KEPT_D = jnp.ones(_PARAMS_D.shape, bool)
_SEARCH = search.Search(num_iterations=200, num_restarts=2, step_size=0.1)

_ATTACK = search.Attack(_UPDATE, views.total, _SHAPE, _SEARCH)
_KNOWN = search.Known(_PARAMS_D, _KEPT_D, _LABELS_CxB)


def image_of(seed: int) -> np.ndarray:
  return np.random.default_rng(seed).random(_SHAPE).astype(np.float32)


def update_of(image: np.ndarray) -> jax.Array:
  return _UPDATE(_PARAMS_D, _KEPT_D, jnp.array(image[None]), _LABELS_CxB[0])


def psnr_of(seen_V: jax.Array, image: np.ndarray) -> tuple[float, float]:
  """Returns the PSNR of the image that is found, and the search's loss."""
  key = jax.random.key(1)
  found, loss = search.invert(seen_V, _KNOWN, 0.0, key, attack=_ATTACK)
  assert found.shape == (1, 1, *_SHAPE)
  assert 0 <= found.min() <= found.max() <= 1
  psnr = metrics.psnr(np.asarray(found)[0, 0, ..., 0], image[..., 0])
  return float(psnr), float(loss)


@pytest.mark.slow
def test_plain_update_gives_the_image_away():
  image = image_of(0)
  psnr, loss = psnr_of(update_of(image), image)
  assert psnr > 30
  assert loss < 1e-3


@pytest.mark.slow
def test_shares_of_t_servers_give_no_more_away_than_noise():
  field = PrimeField(2**31 - 1)
  codec = Codec(field, clip=0.1, value_bits=14, max_clients=1, max_count=1)
  scheme = Shamir(field, num_servers=3, threshold=2)
  image = image_of(0)
  update_CxD = update_of(image)[None]
  shares = views.below_t(codec, scheme).see(update_CxD, 0)
  opened = views.opened(codec, scheme).see(update_CxD, 0)
  noise = views.noise().see(update_CxD, 0)
  from_noise, noise_loss = psnr_of(noise, image)
  from_shares, shares_loss = psnr_of(shares, image)
  assert from_shares < from_noise + 2
  assert min(noise_loss, shares_loss) > 0.5
  # The same search succeeds once one share more opens the same words.
  assert psnr_of(opened, image)[0] > from_shares + 15


@pytest.mark.slow
def test_restart_with_the_least_loss_is_returned():
  # Clients whose update is their image: the loss of every start is known.
  def send_image(params_D, kept_D, images, labels_B):
    return params_D * images.ravel()

  shape, weight, key = (2, 2, 1), 0.5, jax.random.key(1)
  seen_V = np.array([0.0, 1.0, 1.0, 0.0], np.float32)
  images, loss = search.invert(
    jnp.array(seen_V),
    search.Known(jnp.ones(4), jnp.ones(4, bool), _LABELS_CxB),
    weight,
    key,
    attack=search.Attack(
      send_image, views.total, shape, search.Search(1, 5, step_size=1e-6)
    ),
  )
  starts = [
    np.asarray(jax.random.uniform(start_key, shape))
    for start_key in jax.random.split(key, 5)
  ]
  losses = [
    1
    - start.ravel() @ seen_V / np.linalg.norm(start) / np.linalg.norm(seen_V)
    + weight * reference.total_variation(start[..., 0][None])
    for start in starts
  ]
  assert float(loss) == pytest.approx(min(losses), abs=1e-4)
  assert np.asarray(images)[0, 0] == pytest.approx(
    starts[int(np.argmin(losses))], abs=1e-4
  )
  assert np.ptp(losses) > 0.1


def test_total_variation_is_that_of_the_reference():
  images = np.random.default_rng(0).random((2, 5, 6))
  found = search.total_variation(jnp.array(images)[..., None])
  assert float(found) == pytest.approx(reference.total_variation(images))


def test_cosine_distance_of_angles():
  a, b = jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0])
  for vector, expected in ((3 * a, 0), (b, 1), (-a, 2), (0 * a, 1)):
    assert float(search.cosine_distance(a, vector)) == pytest.approx(expected)


def test_updates_of_zeros_do_not_stop_a_search():
  gradient = jax.grad(search.cosine_distance)(jnp.zeros(2), jnp.ones(2))
  assert np.all(np.isfinite(gradient))


def test_layers_are_compared_one_by_one_or_all_at_once():
  a, b = jnp.array([1.0, 0.0, 5.0]), jnp.array([0.0, 1.0, 9.0])
  # At right angles, and alike.
  assert float(search.distance(a, b, (2, 1))) == pytest.approx(0.5, abs=1e-6)
  whole = float(search.cosine_distance(a, b))
  assert float(search.distance(a, b, ())) == whole < 0.5


def test_image_divides_out_of_the_update_of_one_image():
  image = image_of(0)
  found_P = search.divide(*_MODEL.hidden(update_of(image)))
  assert found_P == pytest.approx(image.ravel(), abs=1e-4)


@pytest.mark.parametrize(
  ('name', 'value', 'bound'),
  [
    ('num_iterations', 0, 'at least 1'),
    ('num_restarts', 0, 'at least 1'),
    ('step_size', 0.0, 'above 0'),
  ],
)
def test_search_out_of_range_is_refused(name, value, bound):
  numbers = {'num_iterations': 1, 'num_restarts': 1, 'step_size': 0.1}
  with pytest.raises(ValueError, match=f'{name}={value} must be {bound}'):
    search.Search(**numbers | {name: value})
