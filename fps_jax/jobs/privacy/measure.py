"""Runs one case under every seed and scores what it reconstructs."""

import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core.types import Array
from fps_jax.data.dataset import Dataset
from fps_jax.jobs.privacy import metrics
from fps_jax.jobs.privacy.cases import Case
from fps_jax.jobs.privacy.inversion import Search, divide, invert
from fps_jax.jobs.privacy.model import FlatModel, make_local_update
from fps_jax.pruning import masks

# At this PSNR, in dB, a digit and its strokes are plain to see.
RECOGNISED = 20.0
_keep_largest = jax.jit(masks.keep_largest)


class Trial(NamedTuple):
  """What the clients of one seed hold, and what chance would make of it.

  Attributes:
    params_D: float32 [D], the model that clients receive.
    kept_D: bool [D], what they train.
    images: float32 [C, B, height, width, channels] in [0, 1].
    labels_CxB: int32 [C, B].
    others: like `images`, other images of the same labels.
  """

  params_D: Array
  kept_D: Array
  images: Array
  labels_CxB: Array
  others: Array


class Outcome(NamedTuple):
  """What a case gave.

  Attributes:
    row: of the results.
    originals: float [seeds, n, height, width], the images of all clients.
    found: float [seeds, n, height, width], the reconstruction nearest to each.
    psnr: float [seeds, n], in dB.
  """

  row: dict[str, Any]
  originals: np.ndarray
  found: np.ndarray
  psnr: np.ndarray


class Laboratory:
  """Holds what cases share: data, model, search and compiled programs.

  Guarantee: cases with equally many images a client attack the same images and,
  but for pruning, the same models, client by client.
  """

  def __init__(
    self,
    dataset: Dataset,
    model: FlatModel,
    search: Search,
    learning_rate: float,
    seeds: Sequence[int],
  ):
    """Holds them; `learning_rate` is that of the clients."""
    self._dataset, self._model, self._search = dataset, model, search
    self._seeds = tuple(seeds)
    # One object for equal steps: programs are compiled for the object.
    self._local_update = functools.cache(
      lambda steps: make_local_update(model.apply, learning_rate, steps)
    )
    self._train_clients = functools.cache(
      lambda steps: jax.jit(
        jax.vmap(self._local_update(steps), (None, None, 0, 0))
      )
    )

  def run(self, case: Case, images_per_client: int) -> Outcome:
    """Attacks a case under every seed at once."""
    start = time.perf_counter()
    trials = [self.draw(case, images_per_client, s) for s in self._seeds]
    seen = self._see(case, trials)
    found, losses = self._attack(case, trials, seen)
    jax.block_until_ready(found)
    seconds = time.perf_counter() - start
    matches = [
      metrics.match(_flat(trial.images), _flat(images))
      for trial, images in zip(trials, found, strict=True)
    ]
    chance = [
      metrics.match(_flat(trial.images), _flat(trial.others))
      for trial in trials
    ]
    psnr = np.stack([match.psnr for match in matches])
    row = {
      'case': case.name,
      'title': case.title,
      'images_per_client': images_per_client,
      'clients': case.num_clients,
      'sparsity': case.sparsity,
      'local_steps': case.num_steps,
      'smoothness': case.smoothness,
      **_summary('psnr', psnr),
      **_summary('ssim', np.stack([match.ssim for match in matches])),
      'recognised': float(np.mean(psnr >= RECOGNISED)),
      'chance_psnr_mean': float(np.mean([match.psnr for match in chance])),
      'chance_ssim_mean': float(np.mean([match.ssim for match in chance])),
      'psnr': psnr.tolist(),
      'loss': losses,
      'seconds': seconds,
    }
    nearest = [
      _flat(images)[match.rows]
      for images, match in zip(found, matches, strict=True)
    ]
    originals = np.stack([_flat(trial.images) for trial in trials])
    return Outcome(row, originals, np.stack(nearest), psnr)

  def draw(self, case: Case, images_per_client: int, seed: int) -> Trial:
    """Returns the trial of a seed; clients are drawn one after the other."""
    data, rng = self._dataset, np.random.default_rng(seed)
    shape = (case.num_clients, images_per_client)
    order = rng.permutation(len(data.train_labels))
    # Of a label, the example that follows is as good as any other.
    by_label = {
      label: order[data.train_labels[order] == label]
      for label in np.unique(data.train_labels)
    }
    rows = order[: case.num_clients * images_per_client]
    others = []
    for row in rows:
      same = by_label[data.train_labels[row]]
      place = int(np.flatnonzero(same == row)[0])
      others.append(same[(place + len(same) // 2) % len(same)])

    def scaled(rows: Sequence[int] | np.ndarray) -> Array:
      pixels = data.train_images[np.asarray(rows)].astype(np.float32) / 255
      return jnp.asarray(pixels.reshape(*shape, *data.image_shape))

    params_D = self._model.init(jax.random.key(seed))
    kept_D = jnp.ones(params_D.shape, bool)
    if case.sparsity:
      num_exempt = int(self._model.exempt_D.sum())
      count = masks.keep_count(len(params_D), case.sparsity, num_exempt)
      kept_D = _keep_largest(params_D, count, self._model.exempt_D)
    return Trial(
      params_D=jnp.where(kept_D, params_D, 0.0),
      kept_D=kept_D,
      images=scaled(rows),
      labels_CxB=jnp.asarray(data.train_labels[rows].reshape(shape)),
      others=scaled(others),
    )

  def _see(self, case: Case, trials: Sequence[Trial]) -> list[Array]:
    clients = self._train_clients(case.num_steps)
    return [
      case.view.see(
        clients(trial.params_D, trial.kept_D, trial.images, trial.labels_CxB),
        seed,
      )
      for trial, seed in zip(trials, self._seeds, strict=True)
    ]

  def _attack(
    self, case: Case, trials: Sequence[Trial], seen: Sequence[Array]
  ) -> tuple[list[Array], list[float]]:
    """Returns each seed's images and, of a search, its final loss."""
    if case.method == 'class_mean':
      data = self._dataset
      means = jnp.stack(
        [
          data.train_images[data.train_labels == label].mean(axis=0) / 255
          for label in range(data.num_classes)
        ]
      )
      return [means[trial.labels_CxB] for trial in trials], []
    if case.method == 'divide':
      images = [divide(*self._model.hidden(seen_V)) for seen_V in seen]
      shape = trials[0].images.shape
      return [
        jnp.broadcast_to(image.reshape(shape[2:]), shape) for image in images
      ], []
    params_D, kept_D, _, labels_CxB, _ = jax.tree.map(
      lambda *arrays: jnp.stack(arrays), *trials
    )
    # Searches start from others than the model's draws.
    keys = jnp.stack(
      [jax.random.fold_in(jax.random.key(seed), 1) for seed in self._seeds]
    )
    attack = functools.partial(
      invert,
      local_update=self._local_update(case.num_steps),
      expect=case.view.expect,
      image_shape=self._dataset.image_shape,
      search=self._search,
    )
    found, losses = jax.vmap(attack, (0, 0, 0, 0, None, 0))(
      jnp.stack(seen), params_D, kept_D, labels_CxB, case.smoothness, keys
    )
    return list(found), losses.tolist()


def _flat(images: Array) -> np.ndarray:
  """Returns grey images [n, height, width] of all clients; colours averaged."""
  pixels = np.asarray(images).mean(axis=-1)
  return pixels.reshape(-1, *pixels.shape[2:])


def _summary(name: str, values: np.ndarray) -> dict[str, float]:
  return {
    f'{name}_mean': float(values.mean()),
    f'{name}_min': float(values.min()),
    f'{name}_max': float(values.max()),
  }
