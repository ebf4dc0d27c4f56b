"""From a config to the objects of a run: below this line no ConfigDict."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from fps_jax import data, models
from fps_jax.data.cohort import CohortPlanner
from fps_jax.data.on_devices import DeviceData, PlacedDataset
from fps_jax.devices import put_per_device
from fps_jax.federated import client, communication, evaluation, server
from fps_jax.federated.communication import RoundBytes
from fps_jax.federated.performance import Performance
from fps_jax.federated.round import (
  Collected,
  Method,
  Report,
  Round,
  make_round,
)
from fps_jax.federated.tiling import Tiling
from fps_jax.pruning import masks, schedules
from fps_jax.rng import Stream, device_key, host_generator
from fps_jax.sharing import protocol, randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir
from fps_jax.types import Array, RoundMetrics, RoundPlan, RoundState


@dataclasses.dataclass(frozen=True)
class Simulation:
  """One run, ready to start; nothing is compiled or initialised yet.

  Attributes:
    planner: draws cohorts.
    round: compiled at its first call.
    evaluate: parameters -> (images right, mean loss), on the test set.
    init_state: makes the state before round 0 from the run's seed.
    keep_counts: parameters kept in each round.
    protocol: how the sum over clients is formed.
    sharing_root: uint32 [8], the key that all sharing draws on.
    count_bytes: (kept, reporting clients) -> bytes of a round.
    has_codec: whether updates pass through the codec.
    num_params: D.
    num_test: test images.
    key: root key of the run.
    mesh: the devices of all processes.
    put_data: puts the training set on the devices, or returns where it is.
  """

  planner: CohortPlanner
  round: Round
  evaluate: Callable[[Array], tuple[Array, Array]]
  init_state: Callable[[], RoundState]
  keep_counts: tuple[int, ...]
  protocol: protocol.SumProtocol
  sharing_root: np.ndarray
  count_bytes: Callable[[int, int], RoundBytes]
  has_codec: bool
  num_params: int
  num_test: int
  key: Array
  mesh: Mesh
  put_data: Callable[[], DeviceData]

  def plan(self, round_number: int) -> RoundPlan:
    """Returns the plan of a round, counted from 0."""
    cohort = self.planner.plan(round_number)
    keys = None
    if self.protocol.make_keys is not None:
      keys = self.protocol.make_keys(
        self.sharing_root, round_number, np.asarray(cohort.client_ids)
      )
    cohort = dataclasses.replace(
      cohort, indices=put_per_device(self.mesh, np.asarray(cohort.indices))
    )
    return RoundPlan(
      cohort=cohort,
      keep_count=np.int32(self.keep_counts[round_number]),
      opening=self.protocol.opening,
      keys=keys,
    )

  def start(
    self, state: RoundState, plan: RoundPlan, data: DeviceData
  ) -> Collected:
    """Starts a round; returns at once."""
    return self.round.start(state, plan, self.key, data.images, data.labels)

  def finish(
    self,
    state: RoundState,
    plan: RoundPlan,
    data: DeviceData,
    collected: Collected,
  ) -> tuple[RoundState, RoundMetrics, Report]:
    """Finishes a round; `state` is donated and must not be used again.

    Raises:
      SharingError: if more servers are wrong than can be told apart.
    """
    return self.round.finish(
      state, plan, self.key, data.images, data.labels, collected
    )

  def programs(
    self, state: RoundState, plan: RoundPlan, data: DeviceData
  ) -> tuple[tuple[Any, tuple[Any, ...]], ...]:
    """Returns what a round calls, as `Round.programs`; runs nothing."""
    return self.round.programs(state, plan, self.key, data.images, data.labels)


def build(config: ConfigDict, seed: int, placed: PlacedDataset) -> Simulation:
  """Builds one run from a resolved, validated config.

  Args:
    config: the config of one variant.
    seed: the run's seed.
    placed: the data set, on the mesh that the run uses.

  Raises:
    ValueError: if the data does not fit the config: too few examples for the
      partition, a sum that could wrap, a sparsity below the exempt ones.
  """
  dataset, mesh = placed.dataset, placed.mesh
  partition = _make_partition(config, seed, dataset.train_labels)
  planner = _make_planner(config, seed, placed, partition)
  max_count = planner.max_count
  shares = config.sharing.scheme != 'none'
  scheme = make_scheme(config.sharing) if shares else None
  model = models.make(
    config.model.name,
    dataset.num_classes,
    **config.model.args.get(config.model.name, {}),
  )
  image_shape = (1, *dataset.image_shape)
  everywhere = NamedSharding(mesh, PartitionSpec())
  key = jax.jit(lambda: jax.random.key(seed), out_shardings=everywhere)()

  def init_params():
    image = jnp.zeros(image_shape, jnp.float32)
    return model.init(device_key(key, Stream.MODEL), image)['params']

  def apply(params, images):
    return model.apply({'params': params}, images)

  shapes = jax.eval_shape(init_params)
  template = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
  flat, unravel = ravel_pytree(template)
  num_params = flat.shape[0]
  pixels = (config.data.pixel_mean, config.data.pixel_std)
  prunes = config.pruning.schedule != 'none'
  exempt_D = masks.exempt_mask(template, config.pruning.exempt)
  optimizer = server.make_optimizer(
    config.server.optimizer,
    config.server.learning_rate,
    config.server.momentum,
  )
  sum_protocol = _make_protocol(config, scheme, max_count)
  keep_counts = _keep_counts(config, num_params, int(exempt_D.sum()))
  method = Method(
    local_update=client.make_local_update(
      apply,
      client.make_optimizer(
        config.client.learning_rate,
        config.client.momentum,
        config.client.weight_decay,
      ),
      config.client.proximal,
      *pixels,
    ),
    protocol=sum_protocol,
    tiling=Tiling.fit(
      num_params, keep_counts[-1], sum_protocol.values_per_column
    ),
    server_optimizer=optimizer,
    unravel=unravel,
    exempt_D=exempt_D if prunes else None,
    max_count=max_count,
  )

  def init_state() -> RoundState:
    params_D = ravel_pytree(init_params())[0]
    return RoundState(
      round=jnp.int32(0),
      params=params_D,
      optimizer_state=optimizer.init(params_D),
    )

  def count_bytes(num_kept: int, num_reporting: int) -> RoundBytes:
    return _count_bytes(config, scheme, num_params, num_kept, num_reporting)

  return Simulation(
    planner=planner,
    round=make_round(method, Performance(**config.perf), mesh),
    evaluate=evaluation.make_evaluate(
      apply,
      unravel,
      dataset.test_images,
      dataset.test_labels,
      config.eval.batch_size,
      mesh,
      *pixels,
    ),
    init_state=jax.jit(init_state, out_shardings=everywhere),
    keep_counts=keep_counts,
    protocol=sum_protocol,
    sharing_root=randomness.make_root_key(config.sharing.entropy, seed),
    count_bytes=count_bytes,
    has_codec=scheme is not None,
    num_params=num_params,
    num_test=len(dataset.test_labels),
    key=key,
    mesh=mesh,
    put_data=lambda: placed.put(partition),
  )


def _make_partition(
  config: ConfigDict, seed: int, labels: np.ndarray
) -> list[np.ndarray]:
  return data.partition(
    config.data.partition,
    labels,
    config.data.num_clients,
    host_generator(seed, Stream.PARTITION),
    **config.data.partition_args.get(config.data.partition, {}),
  )


def _make_planner(
  config: ConfigDict,
  seed: int,
  placed: PlacedDataset,
  partition: list[np.ndarray],
) -> CohortPlanner:
  return CohortPlanner(
    placed.number_rows(partition),
    seed=seed,
    cohort_size=config.cohort.size,
    batch_size=config.client.batch_size,
    epochs=config.client.epochs,
    steps=config.client.steps,
    dropout_probability=config.cohort.dropout_probability,
    placement=placed.placement,
  )


def make_scheme(sharing: ConfigDict) -> Shamir:
  """Returns the sharing scheme of a config's section `sharing`.

  Raises:
    ValueError: if its numbers do not fit.
  """
  return Shamir(
    PrimeField(sharing.prime),
    sharing.num_servers,
    sharing.threshold,
    sharing.secrets_per_polynomial,
    sharing.seeded,
  )


def _make_auditor(config: ConfigDict, scheme: Shamir) -> Auditor | None:
  """Returns what looks for wrong sums and shares, or None for nothing."""
  sharing = config.sharing
  if sharing.audit == 'none' or sharing.reveal == 'updates':
    return None
  present = scheme.present_without(sharing.missing_servers)
  if len(present) == scheme.threshold:
    # Any k shares are those of some polynomial: there is nothing to notice.
    return None
  checks_clients = sharing.audit == 'clients'
  return Auditor(scheme, present, checks_clients)


def _make_protocol(
  config: ConfigDict, scheme: Shamir | None, max_count: int
) -> protocol.SumProtocol:
  if scheme is None:
    return protocol.plain_sum()
  sharing = config.sharing
  codec = Codec(
    field=scheme.field,
    clip=sharing.clip,
    value_bits=sharing.value_bits,
    max_clients=config.cohort.size,
    max_count=max_count,
  )
  if sharing.scheme == 'ideal':
    return protocol.ideal_sum(codec)
  return protocol.shamir_sum(
    codec,
    scheme,
    scheme.present_without(sharing.missing_servers),
    sharing.reveal,
    _make_auditor(config, scheme),
    protocol.Faults(
      tuple(sharing.lying_servers), tuple(sharing.inconsistent_clients)
    ),
  )


def _count_bytes(
  config: ConfigDict,
  scheme: Shamir | None,
  num_params: int,
  num_kept: int,
  num_reporting: int,
) -> RoundBytes:
  """Returns the bytes of a round, the audit's included."""
  if scheme is None:
    return communication.count_bytes(num_params, num_kept, num_reporting, None)
  auditor = _make_auditor(config, scheme)
  return communication.count_bytes(
    num_params,
    num_kept,
    num_reporting,
    scheme,
    config.sharing.reveal,
    num_sending=len(auditor.present) if auditor else scheme.threshold,
    num_client_checks=(
      auditor.num_checks if auditor and auditor.checks_clients else 0
    ),
  )


def _keep_counts(
  config: ConfigDict, num_params: int, num_exempt: int
) -> tuple[int, ...]:
  """Returns how many parameters each round keeps."""
  pruning = config.pruning
  if pruning.schedule != 'none':
    # The final sparsity first, so that an error names what the user set.
    masks.keep_count(num_params, pruning.sparsity, num_exempt)
  schedule = schedules.make(
    pruning.schedule, pruning.sparsity, pruning.begin_round, pruning.end_round
  )
  return tuple(
    masks.keep_count(num_params, schedule(r), num_exempt)
    for r in range(config.num_rounds)
  )
