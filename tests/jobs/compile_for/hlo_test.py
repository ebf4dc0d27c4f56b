"""Programs are read as XLA prints them."""

import pytest

from fps_jax.jobs.compile_for import hlo
from tests.helpers import hlo_programs


def test_program_is_read_with_its_computations_and_operands():
  program = hlo.parse(hlo_programs.GPU)
  assert program.entry == 'main'
  body = program.computations['unknown_body']
  assert [each.opcode for each in body.instructions.values()] == [
    'parameter',
    'get-tuple-element',
    'get-tuple-element',
    'fusion',
    'tuple',
  ]
  assert body.root.operands == ('get.3', 'fusion.4')
  assert body.instructions['t.2'].type == '(s32[], /*index=1*/f32[8]{0})'
  assert body.instructions['fusion.4'].called('calls') == ['fused_add']
  loop = program.computations['main'].instructions['while.1']
  assert (loop.scope, loop.called('body')) == ('jit(f)/while', ['unknown_body'])
  assert program.computations['main'].instructions['zero'].given == '0'


def test_layout_with_brackets_is_part_of_the_type():
  program = hlo.parse(hlo_programs.TPU)
  root = program.computations['condition'].root
  assert (root.type, root.opcode) == ('pred[]{:T(512)}', 'compare')
  assert root.operands == ('get.2', 'ten')


@pytest.mark.parametrize(
  ('type_text', 'num_bytes'),
  [
    ('f32[]', 4),
    ('pred[3,5]{1,0}', 15),
    ('bf16[7]{0}', 14),
    ('(u32[2]{0}, /*index=1*/f64[3]{0}, token[])', 32),
    ('f32[0,4]{1,0}', 0),
  ],
)
def test_bytes_of_a_type(type_text: str, num_bytes: int):
  assert hlo.num_bytes(type_text) == num_bytes


@pytest.mark.parametrize('text', ['', 'HloModule jit_f\n', 'anything else'])
def test_what_is_no_program_is_refused(text: str):
  with pytest.raises(ValueError, match='it has no ENTRY'):
    hlo.parse(text)
