"""A round's clients on every device of a mesh, each with the same program."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fps_jax.core.devices import CLIENT_AXES, PROCESS_AXIS
from fps_jax.core.types import Array, RoundPlan
from fps_jax.federated.method import RoundInput
from fps_jax.federated.sums import ClientSums
from fps_jax.sharing.protocol import RoundKeys, SumProtocol

# Of what all devices have alike, and of what has a row a client. For mypy each
# stands for all arrays of what it splits.
ALIKE: Any = PartitionSpec()
BY_CLIENT: Any = PartitionSpec(CLIENT_AXES)
BY_PROCESS: Any = PartitionSpec(PROCESS_AXIS)
# A jitted function, and its arguments or their shapes.
Call = tuple[Any, tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class Program:
  """A function that runs on every device of a mesh.

  Attributes:
    run: the function, jitted.
    mesh: the devices.
    split: how its result is split over them.
  """

  run: Callable[..., Any]
  mesh: Mesh
  split: Any

  def __call__(self, *arguments: Any) -> Any:
    """Runs it."""
    return self.run(*arguments)

  def shapes(self, *arguments: Any) -> Any:
    """Returns the shapes of its result, split as that is."""
    return jax.tree.map(
      lambda spec, part: jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(
          a.shape, a.dtype, sharding=NamedSharding(self.mesh, spec)
        ),
        part,
      ),
      self.split,
      jax.eval_shape(self.run, *arguments),
      is_leaf=lambda node: isinstance(node, PartitionSpec),
    )


def on_mesh(
  mesh: Mesh, function: Callable[..., Any], in_specs: Any, out_specs: Any
) -> Program:
  """Returns a function compiled for every device of a mesh.

  Args:
    mesh: see `fps_jax.core.devices`.
    function: of what a device has.
    in_specs: how each argument is split over devices.
    out_specs: how the result is; what is not split, all devices have alike.
  """

  # Traces show programs by the name of their function, which no partial has.
  @functools.wraps(getattr(function, 'func', function))
  def named(*arguments: Any) -> Any:
    return function(*arguments)

  mapped = jax.shard_map(
    named,
    mesh=mesh,
    in_specs=in_specs,
    out_specs=out_specs,
    # Nothing in a loop over traced counts can be shown to be replicated.
    check_vma=False,
  )
  return Program(jax.jit(mapped), mesh, out_specs)


def input_spec(protocol: SumProtocol) -> RoundInput:
  """Returns how a round's input is split: each device has its clients' rows."""
  has_keys = protocol.make_keys is not None
  keys = RoundKeys(
    dealings=BY_CLIENT,
    client_coins_Qx8=ALIKE,
    sketch_coins_Qx8=ALIKE,
    coins_Qx8=ALIKE,
    lies_Nx8=ALIKE,
    is_lying_N=ALIKE,
  )
  plan = RoundPlan(
    cohort=BY_CLIENT,
    pruning=ALIKE,
    opening=ALIKE,
    keys=keys if has_keys else None,
    answers_N=ALIKE if has_keys else None,
    attempt=ALIKE,
    noise_8=ALIKE,
    client_noise_Cx8=BY_CLIENT,
  )
  return RoundInput(ALIKE, plan, ALIKE, BY_PROCESS)


def add_devices(protocol: SumProtocol, sums: ClientSums) -> ClientSums:
  """Adds up and puts together what the devices of a mesh have."""
  return ClientSums(
    protocol.add_devices(sums.held, CLIENT_AXES),
    jax.lax.psum(sums.contributors_T, CLIENT_AXES),
    *gather(sums[2:]),
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
