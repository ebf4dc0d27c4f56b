"""From a config to the objects of a run: below this line no ConfigDict."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from fps_jax import data, models
from fps_jax.config import build_costs, build_guard, build_sharing
from fps_jax.config import defaults as configs
from fps_jax.core.rng import Stream, device_key, host_generator
from fps_jax.core.types import PruningPlan, RoundState
from fps_jax.data.cohort import Batching, CohortPlanner
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.federated import client, evaluation, layout, server
from fps_jax.federated.evaluation import Evaluate
from fps_jax.federated.layout import Tiling
from fps_jax.federated.method import Method
from fps_jax.federated.performance import Performance
from fps_jax.federated.round import make_round
from fps_jax.pruning import masks, schedules
from fps_jax.pruning.pruner import Pruner, check_patterns, emptied_layers
from fps_jax.pruning.regrowth import Regrowth
from fps_jax.runs.costs.clock import Clock
from fps_jax.runs.simulation import Simulation


def build(config: ConfigDict, seed: int, placed: PlacedDataset) -> Simulation:
  """Builds one run from a resolved, validated config.

  Args:
    config: the config of one variant.
    seed: the run's seed.
    placed: the data set, on the mesh that the run uses.

  Raises:
    ValueError: if data or model do not fit the config: too few examples for the
      partition, a sum that could wrap, a sparsity below the exempt ones, a
      pattern of what is exempt that matches no parameter.
  """
  dataset, mesh = placed.dataset, placed.mesh
  partition = _make_partition(config, seed, dataset.train_labels)
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
    pixels = client.scale_pixels(
      images, config.data.pixel_mean, config.data.pixel_std
    )
    return model.apply({'params': params}, pixels)

  shapes = jax.eval_shape(init_params)
  template = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
  flat, unravel = ravel_pytree(template)
  num_params = flat.shape[0]
  mask = build_costs.mask_of(config)
  remembers = mask == 'shared' and config.pruning.server == 'dense'
  # The default's are for the layers of any model.
  check_patterns(
    template, config.pruning.exempt, configs.default().pruning.exempt
  )
  pruner = Pruner.of(
    template,
    config.pruning.exempt,
    scope=config.pruning.scope,
    regrows=config.pruning.regrow_every > 0,
  )
  optimizer = server.make_optimizer(
    config.server.optimizer,
    config.server.learning_rate,
    config.server.momentum,
  )
  plans = _pruning_plans(config, num_params, pruner)

  sharing = build_sharing.make_setup(
    config, seed, build_guard.num_opened_columns(config, num_params)
  )
  count_bytes = build_costs.make_byte_counter(config, sharing, num_params)
  clock = build_costs.make_clock(
    config, seed, dataset, plans, num_params, count_bytes
  )
  planner = _make_planner(config, seed, placed, partition, clock)
  max_count = planner.max_count
  sum_protocol = build_sharing.make_protocol(config, sharing, max_count)
  num_tiers = len(plans[-1].keep_counts_T)
  data_attack = build_guard.make_data_attack(config, dataset.num_classes)
  local_update = client.make_local_update(
    apply,
    client.make_optimizer(
      config.client.learning_rate,
      config.client.momentum,
      config.client.weight_decay,
    ),
    config.client.proximal,
    corrupt=data_attack.corrupt if data_attack else None,
  )
  tiling = Tiling.fit(
    layout.most_values(num_params, num_tiers, sum_protocol.alignment),
    (
      layout.counts_at(plans[-1].keep_counts_T, sum_protocol.alignment)[-1]
      if mask == 'shared'
      else num_params
    ),
    sum_protocol.values_per_column,
    sum_protocol.alignment,
  )
  method = Method(
    local_update=local_update,
    protocol=sum_protocol,
    tiling=tiling,
    server_optimizer=optimizer,
    unravel=unravel,
    pruner=pruner if mask == 'shared' else None,
    mask=mask or 'shared',
    exempt_D=pruner.exempt_mask,
    max_count=max_count,
    min_contributors=build_sharing.min_contributors(config),
    performance=Performance(**config.perf),
    guard=build_guard.make_guard(
      config,
      seed,
      dataset,
      sum_protocol,
      tiling,
      plans,
      local_update,
      num_params,
    ),
  )

  def make_evaluate(images: np.ndarray, labels: np.ndarray) -> Evaluate:
    return evaluation.make_evaluate(
      apply, unravel, images, labels, config.eval.batch_size, mesh
    )

  backdoor = build_guard.backdoor_test_set(dataset, data_attack)
  max_retries = _max_retries(config.faults)

  def init_state() -> RoundState:
    params_D = ravel_pytree(init_params())[0]
    return RoundState(
      round=jnp.int32(0),
      params=params_D,
      # Two arrays: a state is donated, and no array can be so twice.
      remembered=jnp.copy(params_D) if remembers else None,
      residuals=(
        jnp.zeros((config.data.num_clients, num_params), jnp.float32)
        if mask == 'top_k'
        else None
      ),
      optimizer_state=optimizer.init(params_D),
    )

  return Simulation(
    planner=planner,
    round=make_round(method, mesh),
    evaluate=make_evaluate(dataset.test_images, dataset.test_labels),
    evaluate_backdoor=make_evaluate(*backdoor) if backdoor else None,
    num_backdoor=len(backdoor[1]) if backdoor else 0,
    is_attacked=config.attack.malicious > 0,
    opened_values=lambda kept, reporting: build_guard.opened_values(
      config, num_params, kept, reporting
    ),
    emptied_layers=lambda params_D: (
      emptied_layers(unravel(params_D), config.pruning.exempt)
      if mask == 'shared'
      else []
    ),
    init_state=jax.jit(init_state, out_shardings=everywhere),
    pruning_plans=plans,
    protocol=sum_protocol,
    server_faults=build_sharing.make_server_faults(
      config, sharing.shamir, seed
    ),
    min_answers=build_sharing.min_answers(config),
    min_clients=method.min_contributors if max_retries else 0,
    max_retries=max_retries,
    sharing_root=build_sharing.make_root_key(config.sharing.entropy, seed),
    count_bytes=count_bytes,
    clock=clock,
    prunes_model=mask == 'shared',
    has_codec=build_sharing.scheme_of(config).has_codec,
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


def largest_sample_count(
  config: ConfigDict, seed: int, labels: np.ndarray
) -> int:
  """Returns the largest sample count of a client; 1 where all weigh the same.

  Args:
    config: the config of one variant, valid.
    seed: the run's seed, by which data are dealt.
    labels: of all train examples.
  """
  if config.cohort.weighting != 'examples':
    return 1
  return max(map(len, _make_partition(config, seed, labels)))


def _max_retries(faults: ConfigDict) -> int | None:
  """Returns how often a failed round is tried again; None stops the run."""
  return {'stop': None, 'skip': 0, 'retry': faults.max_retries}[
    faults.on_failed_round
  ]


def _make_planner(
  config: ConfigDict,
  seed: int,
  placed: PlacedDataset,
  partition: list[np.ndarray],
  clock: Clock | None,
) -> CohortPlanner:
  return CohortPlanner(
    placed.number_rows(partition),
    seed=seed,
    cohort_size=config.cohort.size,
    batching=Batching(
      config.client.batch_size, config.client.epochs, config.client.steps
    ),
    dropout_probability=config.faults.client_dropout_probability,
    choose_tiers=clock.choose_tiers if clock else None,
    weighs_examples=config.cohort.weighting == 'examples',
    malicious=build_guard.malicious_clients(config, seed).tolist(),
    placement=placed.placement,
  )


def make_regrowth(pruning: ConfigDict) -> Regrowth:
  """Returns the schedule of regrowth of a config's section `pruning`.

  Raises:
    ValueError: if a number is out of range.
  """
  return Regrowth(
    pruning.regrow_every,
    pruning.regrow_fraction,
    pruning.regrow_end_round,
    pruning.candidates_per_regrown,
  )


def make_schedule(pruning: ConfigDict) -> schedules.Schedule:
  """Returns the schedule of sparsity of a config's section `pruning`.

  Raises:
    ValueError: if a number is out of range or the name unknown.
  """
  return schedules.make(
    pruning.schedule,
    pruning.sparsity,
    pruning.begin_round,
    pruning.end_round,
    pruning.num_steps,
  )


def _pruning_plans(
  config: ConfigDict, num_params: int, pruner: Pruner
) -> tuple[PruningPlan, ...]:
  """Returns how many parameters each round keeps, on the host."""
  pruning, num_exempt = config.pruning, pruner.num_exempt
  tiers = pruning.tiers if pruning.schedule != 'none' else (1.0,)
  if pruning.schedule != 'none':
    # The final sparsity first, so that an error names what the user set.
    masks.keep_count(num_params, pruning.sparsity, num_exempt)
  schedule, regrowth = make_schedule(pruning), make_regrowth(pruning)
  plans = []
  for r in range(config.num_rounds):
    count = masks.keep_count(num_params, schedule(r), num_exempt)
    regrown, candidates = regrowth.counts(
      r, count - num_exempt, num_params - count
    )
    counts = masks.tier_counts(count, tiers, num_exempt)
    layers = [pruner.layer_counts(count) for count in counts]
    plans.append(
      PruningPlan(
        keep_counts_T=np.array([*counts[:-1], count + candidates], np.int32),
        num_candidates=candidates,
        num_regrown=regrown,
        layer_counts_TxA=None if layers[0] is None else np.array(layers),
      )
    )
  return tuple(plans)
