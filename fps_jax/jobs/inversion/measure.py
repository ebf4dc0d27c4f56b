"""Runs one case under every seed and scores what it reconstructs."""

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fps_jax.core.types import Array
from fps_jax.data.dataset import Dataset
from fps_jax.jobs.inversion import metrics, training
from fps_jax.jobs.inversion.cases import Case
from fps_jax.jobs.inversion.model import FlatModel, make_local_update
from fps_jax.jobs.inversion.search import Attack, Known, Search, divide, invert
from fps_jax.pruning import masks

# At this PSNR, in dB, a digit and its strokes are plain to see.
RECOGNISED = 20.0
_keep_largest = jax.jit(masks.keep_largest)


class Trial(NamedTuple):
  """What the clients of one seed hold, and what chance would make of it.

  Attributes:
    known: what an attacker has of it.
    images: float32 [C, B, height, width, channels] in [0, 1].
    others: like `images`, other images of the same labels.
  """

  known: Known
  images: Array
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


class InversionBench:
  """Holds what cases share: data, models, search and compiled programs.

  Guarantee: cases with equally many images a client attack the same images and,
  but for pruning, the same models of a network, client by client.
  """

  def __init__(
    self,
    dataset: Dataset,
    models: Mapping[str, FlatModel],
    search: Search,
    learning_rate: float,
    seeds: Sequence[int],
    num_held_out: int,
  ):
    """Holds them.

    Args:
      dataset: of images.
      models: by network.
      search: how to.
      learning_rate: of the clients.
      seeds: of models, images and searches.
      num_held_out: images that no model is trained on, at least as many as
        the clients of a case hold.
    """
    self._dataset, self._models, self._search = dataset, models, search
    self._seeds, self._num_held_out = tuple(seeds), num_held_out
    # One object for equal steps: programs are compiled for the object.
    self._local_update = functools.cache(
      lambda network, steps: make_local_update(
        models[network].apply, learning_rate, steps
      )
    )
    self._train_clients = functools.cache(
      lambda network, steps: jax.jit(
        jax.vmap(self._local_update(network, steps), (None, None, 0, 0))
      )
    )
    self._params = functools.cache(self._make_params)

  def run(self, case: Case, images_per_client: int) -> Outcome:
    """Attacks a case under every seed at once."""
    start = time.perf_counter()
    trials = [self.draw(case, images_per_client, s) for s in self._seeds]
    found, losses = self._attack(case, trials, self._see(case, trials))
    jax.block_until_ready(found)
    seconds = time.perf_counter() - start
    originals = [_flat(trial.images) for trial in trials]
    matches = [
      metrics.match(images, _flat(reconstructed))
      for images, reconstructed in zip(originals, found, strict=True)
    ]
    chance = [
      metrics.match(images, _flat(trial.others))
      for images, trial in zip(originals, trials, strict=True)
    ]
    psnr = np.stack([match.psnr for match in matches])
    row = {
      'case': case.name,
      'title': case.title,
      'network': case.network,
      'parameters': len(trials[0].known.params_D),
      'trained_steps': case.trained_steps,
      **self._accuracies(case, trials),
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
    return Outcome(row, np.stack(originals), np.stack(nearest), psnr)

  def draw(self, case: Case, images_per_client: int, seed: int) -> Trial:
    """Returns the trial of a seed; clients are drawn one after the other."""
    data, labels = self._dataset, self._dataset.train_targets
    shape = (case.num_clients, images_per_client)
    order = self._order(seed)
    rows = order[: case.num_clients * images_per_client]

    def other(row: int) -> int:
      # Of a label, the example that follows is as good as any other.
      same = order[labels[order] == labels[row]]
      (place,) = np.flatnonzero(same == row)
      return same[(place + len(same) // 2) % len(same)]

    def scaled(rows: Sequence[int] | np.ndarray) -> Array:
      pixels = data.train_inputs[np.asarray(rows)].astype(np.float32) / 255
      return jnp.asarray(pixels.reshape(*shape, *data.image_shape))

    params_D = self._params(case.network, case.trained_steps, seed)
    kept_D = jnp.ones(params_D.shape, bool)
    if case.sparsity:
      exempt_D = self._models[case.network].exempt_D
      num_exempt = int(exempt_D.sum())
      count = masks.keep_count(len(params_D), case.sparsity, num_exempt)
      kept_D = _keep_largest(params_D, count, exempt_D)
    params_D = jnp.where(kept_D, params_D, 0.0)
    labels_CxB = jnp.asarray(labels[rows].reshape(shape))
    known = Known(params_D, kept_D, labels_CxB)
    return Trial(known, scaled(rows), scaled([other(row) for row in rows]))

  def _order(self, seed: int) -> np.ndarray:
    """Returns the training examples in the order in which clients have them."""
    num_examples = len(self._dataset.train_targets)
    return np.random.default_rng(seed).permutation(num_examples)

  def _make_params(self, network: str, num_steps: int, seed: int) -> Array:
    model = self._models[network]
    params_D = model.init(jax.random.key(seed))
    if not num_steps:
      return params_D
    others = self._order(seed)[self._num_held_out :]
    return training.train(
      model.apply, params_D, self._dataset, others, num_steps, seed
    )

  def _accuracies(
    self, case: Case, trials: Sequence[Trial]
  ) -> dict[str, list[float]]:
    """Returns the test accuracy of the models under attack, once trained."""
    if not case.trained_steps:
      return {}
    apply = self._models[case.network].apply
    return {
      'test_accuracy': [
        training.accuracy(apply, trial.known.params_D, self._dataset)
        for trial in trials
      ]
    }

  def _see(self, case: Case, trials: Sequence[Trial]) -> list[Array]:
    train = self._train_clients(case.network, case.num_steps)
    return [
      case.view.see(train(*known[:2], images, known.labels_CxB), seed)
      for (known, images, _), seed in zip(trials, self._seeds, strict=True)
    ]

  def _attack(
    self, case: Case, trials: Sequence[Trial], seen: Sequence[Array]
  ) -> tuple[list[Array], list[float]]:
    """Returns each seed's images and, of a search, its final loss."""
    data, model = self._dataset, self._models[case.network]
    if case.method == 'class_mean':
      means = jnp.stack(
        [
          data.train_inputs[data.train_targets == label].mean(axis=0) / 255
          for label in range(data.num_classes)
        ]
      )
      return [means[trial.known.labels_CxB] for trial in trials], []
    if case.method == 'divide':
      images = [divide(*model.hidden(seen_V)) for seen_V in seen]
      shape = trials[0].images.shape
      return [
        jnp.broadcast_to(image.reshape(shape[2:]), shape) for image in images
      ], []
    known = jax.tree.map(
      lambda *arrays: jnp.stack(arrays), *(trial.known for trial in trials)
    )
    # Searches start from others than the model's draws.
    keys = jnp.stack(
      [jax.random.fold_in(jax.random.key(seed), 1) for seed in self._seeds]
    )
    attack = Attack(
      self._local_update(case.network, case.num_steps),
      case.view.expect,
      data.image_shape,
      self._search,
      model.layer_sizes if case.by_layer else (),
    )
    found, losses = jax.vmap(
      functools.partial(invert, attack=attack), (0, 0, None, 0)
    )(jnp.stack(seen), known, case.smoothness, keys)
    return list(found), losses.tolist()


def _flat(images: Array) -> np.ndarray:
  """Returns grey images [n, height, width] of all clients; colours averaged."""
  pixels = np.asarray(images).mean(axis=-1)
  return pixels.reshape(-1, *pixels.shape[2:])


def _summary(name: str, values: np.ndarray) -> dict[str, float]:
  kinds = {'mean': values.mean(), 'min': values.min(), 'max': values.max()}
  return {f'{name}_{kind}': float(value) for kind, value in kinds.items()}
