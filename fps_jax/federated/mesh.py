"""A round's clients on every device of a mesh, each with the same program."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fps_jax.core.devices import CLIENT_AXES
from fps_jax.core.types import Array, RoundPlan
from fps_jax.federated.sums import ClientSums
from fps_jax.sharing.protocol import RoundKeys, SumProtocol


def plan_spec(protocol: SumProtocol) -> RoundPlan:
  """Returns how a plan is split over devices: each has its clients' rows."""
  replicated, clients = PartitionSpec(), PartitionSpec(CLIENT_AXES)
  dealings: Any = clients
  cohort: Any = clients
  pruning: Any = replicated
  keys = RoundKeys(
    dealings,
    client_coins_Qx8=replicated,
    sketch_coins_Qx8=replicated,
    coins_Qx8=replicated,
    lies_Nx8=replicated,
    is_lying_N=replicated,
  )
  return RoundPlan(
    cohort=cohort,
    pruning=pruning,
    opening=replicated,
    keys=keys if protocol.make_keys else None,
    answers_N=replicated if protocol.make_keys else None,
    attempt=replicated,
  )


def on_mesh(
  mesh: Mesh, function: Callable[..., Any], in_specs: Any, out_specs: Any
) -> Callable[..., Any]:
  """Returns a compiled function that runs on every device of a mesh.

  Args:
    mesh: see `fps_jax.core.devices`.
    function: of what a device has.
    in_specs: how each argument is split over devices.
    out_specs: how the result is; what is not split, all devices have alike.
  """
  return jax.jit(
    jax.shard_map(
      function,
      mesh=mesh,
      in_specs=in_specs,
      out_specs=out_specs,
      # Nothing in a loop over traced counts can be shown to be replicated.
      check_vma=False,
    )
  )


def shapes(
  mesh: Mesh, function: Callable[..., Any], arguments: Any, specs: Any
) -> Any:
  """Returns the shapes of a function's result, split as `specs` says."""
  return jax.tree.map(
    lambda spec, part: jax.tree.map(
      lambda a: jax.ShapeDtypeStruct(
        a.shape, a.dtype, sharding=NamedSharding(mesh, spec)
      ),
      part,
    ),
    specs,
    jax.eval_shape(function, *arguments),
    is_leaf=lambda node: isinstance(node, PartitionSpec),
  )


def add_devices(protocol: SumProtocol, sums: ClientSums) -> ClientSums:
  """Adds up and puts together what the devices of a mesh have."""
  return ClientSums(
    held=protocol.add_devices(sums.held, CLIENT_AXES),
    contributors_T=jax.lax.psum(sums.contributors_T, CLIENT_AXES),
    measures=gather(sums.measures),
  )


def gather(rows: Any) -> Any:
  """Returns the rows of all devices, of arrays that have one a client."""
  return jax.tree.map(
    lambda own: jax.lax.all_gather(own, CLIENT_AXES, tiled=True), rows
  )


def own_rows(rows: Array, num_rows: int) -> Array:
  """Returns this device's rows of those of all devices."""
  first = jax.lax.axis_index(CLIENT_AXES) * num_rows
  return jax.lax.dynamic_slice_in_dim(rows, first, num_rows, 0)
