"""A round's clients on every device of a mesh, each with the same program."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

from fps_jax.devices import CLIENT_AXES, PROCESS_AXIS
from fps_jax.federated.parallel import ClientSums
from fps_jax.sharing.protocol import RoundKeys, SumProtocol
from fps_jax.types import RoundPlan


def on_mesh(
  mesh: Mesh, protocol: SumProtocol, collect: Callable[..., Any]
) -> Callable[..., Any]:
  """Returns a function of a round that runs on every device of a mesh.

  Args:
    mesh: see `fps_jax.devices`.
    protocol: how the sum is formed.
    collect: (anything replicated, `RoundPlan`, accepted bool [C], round key,
      images, labels) -> anything that all devices have alike. It sees its
      device's rows of the plan, and the examples of its process.

  Returns:
    A function of the same arguments: the rows of all devices, and the examples
    of all processes, one after another.
  """
  replicated, clients = PartitionSpec(), PartitionSpec(CLIENT_AXES)
  examples = PartitionSpec(PROCESS_AXIS)
  dealings: Any = clients
  cohort: Any = clients
  pruning: Any = replicated
  keys = RoundKeys(dealings, coins_Qx8=replicated, lies=replicated)
  plan = RoundPlan(
    cohort=cohort,
    pruning=pruning,
    opening=replicated,
    keys=keys if protocol.make_keys else None,
  )
  return jax.shard_map(
    collect,
    mesh=mesh,
    in_specs=(replicated, plan, clients, replicated, examples, examples),
    out_specs=replicated,
    # Nothing in a loop over traced counts can be shown to be replicated.
    check_vma=False,
  )


def add_devices(protocol: SumProtocol, sums: ClientSums) -> ClientSums:
  """Adds up and puts together what the devices of a mesh have."""
  measures = jax.tree.map(
    lambda rows: jax.lax.all_gather(rows, CLIENT_AXES, tiled=True),
    sums.measures,
  )
  return ClientSums(
    held=protocol.add_devices(sums.held, CLIENT_AXES),
    contributors_T=jax.lax.psum(sums.contributors_T, CLIENT_AXES),
    measures=measures,
  )
