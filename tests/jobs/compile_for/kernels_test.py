"""Kernels are counted by hand, and by loops that turn as often."""

import pytest

from fps_jax.jobs.compile_for import hlo, kernels
from fps_jax.jobs.compile_for.kernels import Loop
from tests.helpers import hlo_programs


def _count(text: str, **turns: int) -> kernels.Count:
  return kernels.count(
    hlo.parse(text), lambda scope: turns.get(scope.replace('/', '_'))
  )


def test_kernels_are_those_of_all_turns_and_of_the_longest_branch():
  # copy.0, gemm.0, fusion.0 and all-reduce; 5 x (2 + a branch of 2); 1 + 1.
  assert _count(hlo_programs.GPU).kernels == 4 + 5 * (2 + 2) + (1 + 1)


def test_loop_whose_turns_are_unknown_is_listed_and_counted_once():
  counted = _count(hlo_programs.GPU)
  assert counted.loops == (
    Loop('jit(f)/prune/while', 5, 'program', 4, 1),
    Loop('jit(f)/while', 1, 'assumed', 2, 1),
  )
  assert counted.unknown == counted.loops[1:]


def test_turns_of_the_plan_count_for_a_loop_that_is_unknown_alone():
  program = hlo.parse(hlo_programs.GPU)
  counted = kernels.count(program, lambda scope: 7)
  assert counted.kernels == 4 + 5 * (2 + 2) + 7 * (1 + 1)
  assert [loop.source for loop in counted.loops] == ['program', 'plan']


def test_loops_inside_loops_are_begun_in_every_turn():
  text = hlo_programs.GPU.replace(
    '%fusion.4 = f32[8]{0} fusion(%get.4, %get.4), kind=kLoop, '
    'calls=%fused_add',
    '%fusion.4 = (s32[], f32[8]{0}) while(%t.2), condition=%known_condition, '
    'body=%known_body, metadata={op_name="inner/while"}, '
    'backend_config={"known_trip_count":{"n":"3"}}',
  )
  counted = kernels.count(hlo.parse(text), lambda scope: 7)
  # The condition of the loop around them is a kernel, too.
  assert counted.kernels == 4 + 5 * 4 + 7 * (3 * 4 + 1)
  assert counted.loops[-1] == Loop('inner/while', 3, 'program', 4, 7)


def test_collectives_are_counted_by_what_a_device_gives():
  assert _count(hlo_programs.GPU).collective_bytes == 4 * 8


def test_bytes_are_those_of_all_turns():
  per_add = 4 * 8 * 3
  # A copy of a number; the product reads x twice and writes room to work in.
  once = 8 + (2 * 32 + 32 + 64) + per_add + 32
  known = 5 * (_SCALAR_BODY + per_add + (64 + per_add))
  unknown = per_add + _SCALAR_BODY
  assert _count(hlo_programs.GPU).bytes == once + known + unknown


# What the fusion of a number is printed with: of one parameter that is read.
_SCALAR_BODY = 4 * 8 * 3


@pytest.mark.parametrize(
  ('begin', 'turns', 'source'), [('0', 10, 'program'), ('4', 1, 'assumed')]
)
def test_loop_that_compares_with_a_constant_is_known(
  begin: str, turns: int, source: str
):
  counted = _count(hlo_programs.TPU.replace('BEGIN', begin))
  (loop,) = counted.loops
  assert (loop.turns, loop.source, loop.kernels) == (turns, source, 1)


def test_what_runs_nothing_is_no_kernel_and_what_is_close_by_no_traffic():
  counted = _count(hlo_programs.TPU.replace('BEGIN', '0'))
  # The copy of the counter, and ten negations that main memory sees written.
  assert counted.kernels == 1 + 10
  assert counted.bytes == 8 + 10 * 4 * 16 * 200


@pytest.mark.parametrize(
  'call',
  [
    'custom-call(%x), custom_call_target="xla_ffi_python_gpu_callback"',
    'infeed(%x)',
    'send(%x), channel_id=1, is_host_transfer=true',
  ],
)
def test_calls_of_the_host_are_found(call: str):
  text = hlo_programs.GPU.replace(
    '%copy.0 = s32[] copy(%zero)',
    f'%copy.0 = s32[] {call}, metadata={{op_name="jit(f)/show"}}',
  )
  assert _count(text).callbacks == ('jit(f)/show',)
  assert _count(hlo_programs.GPU).callbacks == ()
