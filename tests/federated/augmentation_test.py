"""Tests of augmentation: what is drawn for whom, and what comes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fps_jax.core.types import Examples
from fps_jax.federated import augmentation
from fps_jax.federated.client import ClientWork, make_local_update
from tests.helpers import small

_rng = np.random.default_rng(0)
IMAGES = _rng.integers(1, 256, size=(6, 5, 4, 3), dtype=np.uint8)
EXAMPLES = Examples(jnp.asarray(IMAGES), jnp.arange(6) % 3)
KEY = jax.random.key(7)
PARAMS = jnp.asarray(_rng.normal(size=(60, 3)).astype(np.float32))


def apply(params, images):
  return images.reshape(len(images), -1).astype(jnp.float32) / 255 @ params


def augment_all(augment, client=3, round=2, step=1, inputs=IMAGES):
  key = augmentation.client_key(KEY, round, client)
  return np.asarray(
    augmentation.augment_batch(augment, key, step, jnp.asarray(inputs))
  )


def _crops(image, padding, flips):
  """Returns all that may come of an image, by slow loops."""
  height, width, _ = image.shape
  padded = np.pad(image, ((padding,) * 2, (padding,) * 2, (0, 0)))
  found = [
    padded[y : y + height, x : x + width]
    for y in range(2 * padding + 1)
    for x in range(2 * padding + 1)
  ]
  return found + [crop[:, ::-1] for crop in found if flips]


@pytest.mark.slow
@pytest.mark.parametrize(
  ('padding', 'flips'), [(1, True), (1, False), (0, True)]
)
def test_images_become_each_of_their_crops_and_mirror_images(padding, flips):
  augment = augmentation.crop_flip(padding, flips)
  batch = augment_all(augment, inputs=np.tile(IMAGES[:1], (400, 1, 1, 1)))
  expected = {crop.tobytes() for crop in _crops(IMAGES[0], padding, flips)}
  assert {image.tobytes() for image in batch} == expected
  assert len(expected) == (2 * padding + 1) ** 2 * (1 + flips)


@pytest.mark.slow
def test_clients_rounds_steps_and_examples_draw_by_themselves():
  augment = augmentation.crop_flip()
  same = np.tile(IMAGES[:1], (6, 1, 1, 1))
  first = augment_all(augment, inputs=same)
  np.testing.assert_array_equal(first, augment_all(augment, inputs=same))
  assert len({image.tobytes() for image in first}) > 1
  for other in ({'client': 4}, {'round': 3}, {'step': 2}):
    assert np.any(augment_all(augment, inputs=same, **other) != first)


@pytest.mark.slow
def test_place_of_a_client_among_others_does_not_matter():
  update = make_local_update(
    apply, optax.sgd(0.1), augment=augmentation.crop_flip()
  )

  def train(client):
    batches = jnp.int32([[0, 1, 2], [3, 4, -1]])
    work = ClientWork(batches, 2, client_id=client, round=1, key=KEY)
    return update(PARAMS, None, EXAMPLES, work).delta

  together = jax.jit(jax.vmap(train))
  deltas, turned = (together(jnp.int32(ids)) for ids in ([5, 8, 2], [2, 8, 5]))
  np.testing.assert_array_equal(deltas, turned[::-1])
  assert np.any(deltas[0] != deltas[1])
  np.testing.assert_allclose(jax.jit(train)(5), deltas[0], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_attack_is_on_what_augmentation_made_and_the_root_has_none():
  seen = []

  def corrupt(inputs, targets, is_malicious):
    jax.debug.callback(lambda batch: seen.append(np.asarray(batch)), inputs)
    return inputs, targets

  augment = augmentation.crop_flip()
  update = make_local_update(
    apply, optax.sgd(0.1), corrupt=corrupt, augment=augment
  )
  work = ClientWork(jnp.int32([[0, 1, 2]]), 1, client_id=3, round=2, key=KEY)
  for one in (work, work._replace(key=None)):
    jax.block_until_ready(update(PARAMS, None, EXAMPLES, one))
  jax.effects_barrier()
  expected = augment_all(augment, step=0, inputs=IMAGES[:3])
  np.testing.assert_array_equal(seen[0], expected)
  np.testing.assert_array_equal(seen[-1], IMAGES[:3])


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    ({'padding': -1}, 'padding=-1 must be a whole number'),
    ({'flips': 1}, 'flips=1 must be True or False'),
    ({'padding': 0, 'flips': False}, 'changes nothing'),
  ],
)
def test_argument_out_of_range_is_refused(args, message):
  with pytest.raises(ValueError, match=message):
    augmentation.AUGMENTATIONS.make('crop_flip', args)


def test_inputs_that_are_no_images_and_changed_shapes_are_refused():
  with pytest.raises(ValueError, match=r'image is float32 \[4\]'):
    augment_all(augmentation.crop_flip(), inputs=np.zeros((6, 4), np.float32))
  with pytest.raises(ValueError, match=r'augmented inputs is uint8 \[6, 4'):
    augment_all(lambda key, image: image[1:, :, :])


@pytest.mark.slow
def test_chunks_do_not_change_what_is_drawn_in_a_run():
  """Bit for bit, with one client a chunk or three."""
  models = [
    small.run(
      small.make_config(
        client__augmentation='crop_flip',
        sharing__scheme='ideal',
        perf__chunk_size=size,
      )
    )[0]
    for size in (1, 3)
  ]
  np.testing.assert_array_equal(*models)
