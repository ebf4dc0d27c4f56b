"""From a config to the objects of a run: below this line no ConfigDict."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from fps_jax.config.by_client import deal_tests, make_by_client
from fps_jax.config.sections import (
  attack,
  client,
  cohort,
  data,
  defence,
  faults,
  privacy,
  pruning,
  server,
  sharing,
  simulated_time,
)
from fps_jax.config.sections import model as model_section
from fps_jax.config.sections.defence import Trained
from fps_jax.config.sections.model import Network, make_loss, make_network
from fps_jax.core import compilation
from fps_jax.core.devices import are_here
from fps_jax.core.rng import Stream, device_key
from fps_jax.core.types import Array, Examples, Key, PruningPlan, RoundState
from fps_jax.data.dataset import Dataset
from fps_jax.data.on_devices import PlacedDataset
from fps_jax.data.stored import select
from fps_jax.federated import layout
from fps_jax.federated.by_client import OwnTests
from fps_jax.federated.evaluation import Evaluate, make_evaluate
from fps_jax.federated.layout import Tiling
from fps_jax.federated.losses import num_counted
from fps_jax.federated.method import Method, Terms
from fps_jax.federated.performance import Performance
from fps_jax.federated.round import make_round
from fps_jax.pruning import scores
from fps_jax.pruning.pruner import Pruner, emptied_layers, named_layers
from fps_jax.runs import initial
from fps_jax.runs.chunk_size import with_chunk_size
from fps_jax.runs.simulation import (
  Accounts,
  Completion,
  Evaluation,
  Model,
  Simulation,
)
from fps_jax.sharing.protocol import SumProtocol
from fps_jax.sharing.schemes.scheme import Setup


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
  partition = data.make_partition(config, seed, dataset)
  own_tests = deal_tests(config, seed, dataset, partition)
  network = make_network(config, dataset.signature)
  pruner = pruning.make_pruner(config, network.template)
  plans = pruning.make_plans(config, network.num_params, pruner)
  setup = sharing.make_setup(
    config, seed, defence.num_opened_columns(config, network.num_params)
  )
  accounts = _make_accounts(config, seed, dataset, network, plans, setup)
  planner = cohort.make_planner(config, seed, placed, partition, accounts.clock)
  noise = privacy.make_privacy(config, plans)
  protocol = sharing.make_protocol(config, setup, planner.max_count, noise)
  trained = _make_trained(config, placed, network, protocol, plans)
  terms = Terms(planner.max_count, sharing.min_contributors(config), noise)
  method = _make_method(config, seed, trained, network, pruner, terms, mesh)
  retries = faults.max_retries(config)
  simulation = Simulation(
    planner=planner,
    pruning_plans=plans,
    round=make_round(method, mesh),
    protocol=protocol,
    sharing_root=sharing.make_root_key(config.sharing.entropy, seed),
    init_state=_make_init_state(
      config,
      network,
      method.server_optimizer,
      seed,
      mesh,
      _initial_params(config, seed, accounts.model),
    ),
    key=_make_key(seed, mesh),
    mesh=mesh,
    put_data=lambda: placed.put(partition),
    evaluation=_make_evaluation(config, seed, placed, network),
    completion=Completion(
      server_faults=faults.make_server_faults(config, seed),
      min_answers=sharing.min_answers(config),
      min_clients=terms.min_contributors if retries else 0,
      max_retries=retries,
    ),
    accounts=accounts,
  )
  simulation = with_chunk_size(simulation)
  return _with_tests(config, placed, own_tests, network, simulation)


def _with_tests(
  config: ConfigDict,
  placed: PlacedDataset,
  tests: OwnTests | None,
  network: Network,
  simulation: Simulation,
) -> Simulation:
  """Returns a run with tests of every client, who train as in its rounds."""
  if not tests:
    return simulation
  by_client = make_by_client(config, placed, tests, network.apply, simulation)
  evaluation = simulation.evaluation._replace(by_client=by_client)
  return dataclasses.replace(simulation, evaluation=evaluation)


def _make_key(seed: int, mesh: Mesh) -> Key:
  """Returns the root key on all devices; its shape, where they are not here."""
  everywhere = NamedSharding(mesh, PartitionSpec())
  if not are_here(mesh):
    return jax.eval_shape(jax.random.key, seed).update(sharding=everywhere)
  return jax.jit(jax.random.key, out_shardings=everywhere)(np.uint32(seed))


def _make_accounts(
  config: ConfigDict,
  seed: int,
  dataset: Dataset,
  network: Network,
  plans: tuple[PruningPlan, ...],
  setup: Setup,
) -> Accounts:
  """Returns what rows are made of besides what devices measure."""
  count_bytes = sharing.make_byte_counter(
    config, setup, network.num_params, pruning.has_own_masks(config)
  )
  return Accounts(
    count_bytes=count_bytes,
    clock=simulated_time.make_clock(config, seed, dataset, plans, count_bytes),
    opened_values=lambda kept, reporting: defence.opened_values(
      config, network.num_params, kept, reporting
    ),
    emptied_layers=lambda params_D: (
      emptied_layers(network.template, params_D, config.pruning.exempt)
      if pruning.prunes_model(config)
      else []
    ),
    model=Model(
      dataset.signature,
      {path: layer.shape for path, layer in named_layers(network.template)},
      network.unravel,
    ),
    num_params=network.num_params,
    shares_mask=pruning.shares_mask(config),
    is_attacked=config.attack.malicious > 0,
    ledger=privacy.make_ledger(config, plans),
  )


def _make_trained(
  config: ConfigDict,
  placed: PlacedDataset,
  network: Network,
  protocol: SumProtocol,
  plans: tuple[PruningPlan, ...],
) -> Trained:
  """Returns local training, and how what it gives is cut to be summed."""
  dataset, num_params = placed.dataset, network.num_params
  data_attack = attack.make_attack_on(config, dataset)
  longest_tile = _make_performance(config, placed.mesh).longest_tile
  return Trained(
    dataset=dataset,
    local_update=client.make_local_update(
      config,
      network,
      data_attack,
      Examples(dataset.train_inputs, dataset.train_targets),
    ),
    protocol=protocol,
    tiling=make_tiling(config, num_params, protocol, plans, longest_tile),
    plans=plans,
    num_params=num_params,
  )


def make_tiling(
  config: ConfigDict,
  num_params: int,
  protocol: SumProtocol,
  plans: Sequence[PruningPlan],
  longest: int = layout.LONGEST_TILE,
) -> Tiling:
  """Returns how updates are cut to be summed: best for the last round.

  In tiles of `longest` values at most, where they are not seen by anybody who
  draws anything for a whole tile.
  """
  if config.attack.updates != 'none' or config.defence.name != 'none':
    longest = layout.LONGEST_TILE
  last_counts_T, alignment = plans[-1].keep_counts_T, protocol.alignment
  shared = sharing.shared_values(config)
  usual = num_params
  if pruning.shares_mask(config):
    usual = layout.counts_at(last_counts_T, alignment)[-1]
  return Tiling.fit(
    layout.most_values(num_params, len(last_counts_T), alignment)
    + shared.padding,
    usual + shared.padding,
    protocol.values_per_column,
    math.lcm(
      alignment, shared.block // math.gcd(shared.block, layout.BLOCK_WORDS)
    ),
    longest,
  )


def _make_method(
  config: ConfigDict,
  seed: int,
  trained: Trained,
  network: Network,
  pruner: Pruner,
  terms: Terms,
  mesh: Mesh,
) -> Method:
  """Returns the parts of a round."""
  mask = pruning.mask_of(config)
  return Method(
    local_update=trained.local_update,
    protocol=trained.protocol,
    tiling=trained.tiling,
    server_optimizer=server.make_optimizer(config),
    unravel=network.unravel,
    pruner=pruner if mask == 'shared' else None,
    mask=mask or 'shared',
    exempt_D=pruner.exempt_mask,
    terms=terms,
    performance=_make_performance(config, mesh),
    guard=defence.make_guard(config, seed, trained),
    # Noise for privacy is of the bound on updates, at any learning rate.
    units_R=None if terms.privacy else sharing.make_units(config),
  )


def _make_performance(config: ConfigDict, mesh: Mesh) -> Performance:
  platform = mesh.devices.flat[0].platform
  return Performance(**config.perf, platform=platform)


def _make_evaluation(
  config: ConfigDict,
  seed: int,
  placed: PlacedDataset,
  network: Network,
) -> Evaluation:
  """Returns tests of a model, but for those by client: held out, a trigger."""
  dataset, loss = placed.dataset, make_loss(config)
  rows = data.split(config, seed, len(dataset.train_targets)).validation
  held_out = select(dataset.train_inputs, rows), dataset.train_targets[rows]

  def evaluate(inputs: np.ndarray, targets: np.ndarray) -> Evaluate:
    return make_evaluate(
      network.apply,
      network.unravel,
      Examples(inputs, targets),
      config.eval.batch_size,
      placed.mesh,
      loss,
    )

  backdoor = attack.backdoor_test_set(
    dataset, attack.make_attack_on(config, dataset)
  )
  return Evaluation(
    test=evaluate(dataset.test_inputs, dataset.test_targets),
    num_test=num_counted(dataset.test_targets),
    backdoor=evaluate(*backdoor) if backdoor else None,
    num_backdoor=len(backdoor[1]) if backdoor else 0,
    validation=evaluate(*held_out) if len(rows) else None,
    num_validation=num_counted(held_out[1]),
    stop_at_accuracy=config.eval.stop_at_accuracy,
  )


def _initial_params(
  config: ConfigDict, seed: int, model: Model
) -> np.ndarray | None:
  """Returns the model of another run to begin with; None for a random one."""
  params_D = model_section.initial_model(config, seed)
  if params_D is not None:
    initial.check_fits(model_section.initial_folder(config, seed), model)
  return params_D


def _make_init_state(
  config: ConfigDict,
  network: Network,
  optimizer: optax.GradientTransformation,
  seed: int,
  mesh: Mesh,
  initial_D: np.ndarray | None,
) -> Callable[[], RoundState]:
  """Returns what makes the state before round 0, on all devices."""
  init = functools.partial(_init_state, config, network, optimizer)
  program = jax.jit(
    init,
    out_shardings=NamedSharding(mesh, PartitionSpec()),
    **compilation.of_one_call(mesh.devices.flat[0].platform),
  )
  # An argument, so that all seeds have the same program.
  return functools.partial(program, np.uint32(seed), initial_D)


def _init_state(
  config: ConfigDict,
  network: Network,
  optimizer: optax.GradientTransformation,
  seed: Array | np.uint32,
  initial_D: Array | None,
) -> RoundState:
  """Returns the state before round 0, with a model if one is given."""
  key, params_D = jax.random.key(seed), initial_D
  if params_D is None:
    params_D = ravel_pytree(network.init(key))[0]
  mask, num_clients = pruning.mask_of(config), config.data.num_clients
  remembers = mask == 'shared' and config.pruning.server == 'dense'
  return RoundState(
    round=jnp.int32(0),
    params=params_D,
    # Two arrays: a state is donated, and no array can be so twice.
    remembered=jnp.copy(params_D) if remembers else None,
    residuals=(
      jnp.zeros((num_clients, network.num_params), jnp.float32)
      if mask == 'top_k'
      else None
    ),
    optimizer_state=optimizer.init(params_D),
    scores=scores.fixed(
      config.pruning.score, params_D, device_key(key, Stream.MASK)
    )
    if mask == 'shared'
    else None,
    clip=(
      jnp.float32(config.privacy.clip) if privacy.is_private(config) else None
    ),
  )
