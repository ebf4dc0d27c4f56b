"""From a config to the objects of a run: below this line no ConfigDict."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from ml_collections import ConfigDict

from fps_jax import data, models
from fps_jax.data.cohort import CohortPlanner
from fps_jax.data.dataset import Dataset
from fps_jax.federated import client, communication, evaluation, server
from fps_jax.federated.communication import RoundBytes
from fps_jax.federated.performance import Performance
from fps_jax.federated.round import Method, Report, RoundFn, make_round
from fps_jax.pruning import masks, schedules
from fps_jax.rng import Stream, device_key, host_generator
from fps_jax.sharing import protocol, randomness
from fps_jax.sharing.audit import Auditor
from fps_jax.sharing.codec import Codec
from fps_jax.sharing.field import PrimeField
from fps_jax.sharing.shamir import Shamir
from fps_jax.types import Array, RoundMetrics, RoundPlan, RoundState


@dataclasses.dataclass(frozen=True)
class DeviceData:
  """The training set on the device, put there once for all runs of a study.

  Attributes:
    images: uint8 [n, height, width, channels].
    labels: int32 [n].
  """

  images: Array
  labels: Array


@dataclasses.dataclass(frozen=True)
class Simulation:
  """One run, ready to start; nothing is compiled or initialised yet.

  Attributes:
    planner: draws cohorts.
    run_round: the round, compiled at its first call.
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
    data: the training set on the device.
  """

  planner: CohortPlanner
  run_round: RoundFn
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
  data: DeviceData

  def plan(self, round_number: int) -> RoundPlan:
    """Returns the plan of a round, counted from 0."""
    cohort = self.planner.plan(round_number)
    keys = None
    if self.protocol.make_keys is not None:
      keys = self.protocol.make_keys(
        self.sharing_root, round_number, np.asarray(cohort.client_ids)
      )
    return RoundPlan(
      cohort=cohort,
      keep_count=jnp.int32(self.keep_counts[round_number]),
      opening=self.protocol.opening,
      keys=keys,
    )

  def step(
    self, state: RoundState, plan: RoundPlan
  ) -> tuple[RoundState, RoundMetrics, Report]:
    """Runs one round; `state` is donated and must not be used again.

    Raises:
      SharingError: if more servers are wrong than can be told apart.
    """
    return self.run_round(
      state, plan, self.key, self.data.images, self.data.labels
    )


def put_on_device(dataset: Dataset) -> DeviceData:
  """Copies the training set to the device."""
  return DeviceData(
    jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels)
  )


def build(
  config: ConfigDict, seed: int, dataset: Dataset, device_data: DeviceData
) -> Simulation:
  """Builds one run from a resolved, validated config.

  Args:
    config: the config of one variant.
    seed: the run's seed.
    dataset: the data set on the host.
    device_data: its training set on the device.

  Raises:
    ValueError: if the data does not fit the config: too few examples for the
      partition, a sum that could wrap, a sparsity below the exempt ones.
  """
  planner = _make_planner(config, seed, dataset.train_labels)
  max_count = planner.max_count
  shares = config.sharing.scheme != 'none'
  scheme = make_scheme(config.sharing) if shares else None
  model = models.make(
    config.model.name,
    dataset.num_classes,
    **config.model.args.get(config.model.name, {}),
  )
  image = jnp.zeros((1, *dataset.train_images.shape[1:]), jnp.float32)
  key = jax.random.key(seed)

  def init_params():
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
    server_optimizer=optimizer,
    unravel=unravel,
    exempt_D=jnp.asarray(exempt_D) if prunes else None,
    max_count=max_count,
  )

  def count_bytes(num_kept: int, num_reporting: int) -> RoundBytes:
    return _count_bytes(config, scheme, num_params, num_kept, num_reporting)

  return Simulation(
    planner=planner,
    run_round=make_round(method, Performance(**config.perf)),
    evaluate=evaluation.make_evaluate(
      apply,
      unravel,
      dataset.test_images,
      dataset.test_labels,
      config.eval.batch_size,
      *pixels,
    ),
    init_state=lambda: _init_state(init_params, optimizer),
    keep_counts=_keep_counts(config, num_params, int(exempt_D.sum())),
    protocol=sum_protocol,
    sharing_root=randomness.make_root_key(config.sharing.entropy, seed),
    count_bytes=count_bytes,
    has_codec=scheme is not None,
    num_params=num_params,
    num_test=len(dataset.test_labels),
    key=key,
    data=device_data,
  )


def _init_state(
  init_params: Callable[[], dict], optimizer: optax.GradientTransformation
) -> RoundState:
  params_D = ravel_pytree(jax.jit(init_params)())[0]
  return RoundState(
    round=jnp.int32(0),
    params=params_D,
    optimizer_state=optimizer.init(params_D),
  )


def _make_planner(
  config: ConfigDict, seed: int, labels: np.ndarray
) -> CohortPlanner:
  partition = data.partition(
    config.data.partition,
    labels,
    config.data.num_clients,
    host_generator(seed, Stream.PARTITION),
    **config.data.partition_args.get(config.data.partition, {}),
  )
  return CohortPlanner(
    partition,
    seed=seed,
    cohort_size=config.cohort.size,
    batch_size=config.client.batch_size,
    epochs=config.client.epochs,
    steps=config.client.steps,
    dropout_probability=config.cohort.dropout_probability,
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
  return Auditor(scheme, present, checks_clients, config.perf.cipher)


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
    config.perf.cipher,
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
