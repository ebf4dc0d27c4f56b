"""Bytes of a kernel: of what it takes a part of, that part."""

import pytest

from fps_jax.jobs.compile_for import hlo
from fps_jax.jobs.compile_for.traffic import kernel_bytes

_FUSION = """%fused (p.0: f32[100,8], p.1: s32[], p.2: f32[1,8]) -> f32[] {{
  %p.0 = f32[100,8]{{1,0}} parameter(0)
  %p.1 = s32[] parameter(1)
  %p.2 = f32[1,8]{{1,0}} parameter(2)
  {lines}
}}

ENTRY %main (x: f32[100,8], i: s32[], y: f32[1,8]) -> f32[100,8] {{
  %x = f32[100,8]{{1,0}} parameter(0)
  %i = s32[] parameter(1)
  %y = f32[1,8]{{1,0}} parameter(2)
  ROOT %out = {type} fusion(%x, %i, %y), kind=kLoop, calls=%fused
}}
"""
_SLICE = (
  'f32[1,8]{1,0} dynamic-slice(%p.0, %p.1, %p.1), dynamic_slice_sizes={1,8}'
)
_UPDATE = 'f32[100,8]{1,0} dynamic-update-slice(%p.0, %p.2, %p.1, %p.1)'
_ROW, _WHOLE, _NUMBER = 4 * 8, 4 * 100 * 8, 4


@pytest.mark.parametrize(
  ('lines', 'type_text', 'num_bytes'),
  [
    # Reads a row, a place and y; writes a row.
    (
      [f'%s = {_SLICE}', 'ROOT %a = f32[1,8]{1,0} add(%s, %p.2)'],
      'f32[1,8]{1,0}',
      _ROW + _ROW + _ROW,
    ),
    # In place: reads y, writes it.
    ([f'ROOT %u = {_UPDATE}'], 'f32[100,8]{1,0}', _ROW + _ROW),
    # Whole: something else reads all of it, too.
    (
      [
        f'%s = {_SLICE}',
        '%n = f32[100,8]{1,0} negate(%p.0)',
        'ROOT %t = (f32[1,8]{1,0}, f32[100,8]{1,0}) tuple(%s, %n)',
      ],
      '(f32[1,8]{1,0}, f32[100,8]{1,0})',
      _WHOLE + _ROW + _WHOLE,
    ),
    # By another name.
    (
      [
        '%b = f32[100,8]{1,0} bitcast(%p.0)',
        f'ROOT %s = {_SLICE.replace("%p.0", "%b")}',
      ],
      'f32[1,8]{1,0}',
      _ROW + _ROW,
    ),
  ],
  ids=['slice', 'update', 'whole', 'bitcast'],
)
def test_bytes_of_a_fusion(lines: list[str], type_text: str, num_bytes: int):
  text = _FUSION.format(lines='\n  '.join(lines), type=type_text)
  program = hlo.parse(text)
  main = program.computations['main']
  found = kernel_bytes(program, main, main.root)
  # Where it is, is read where anything is read or written by it.
  assert found - _NUMBER * ('%p.1' in ' '.join(lines)) == num_bytes


@pytest.mark.parametrize(
  ('line', 'num_bytes'),
  [
    ('f32[100,8]{1,0} copy(%x)', 2 * _WHOLE),
    ('f32[1,8]{1,0} dynamic-slice(%x, %i, %i)', 2 * _ROW),
    ('f32[100,8]{1,0} dynamic-update-slice(%x, %y, %i, %i)', 2 * _ROW),
    ('f32[8,8]{1,0} dot(%x, %x)', 2 * _WHOLE + 4 * 64),
    ('(f32[100,8]{1,0}, u32[]) copy-start(%x)', _WHOLE),
  ],
)
def test_bytes_of_what_is_not_fused(line: str, num_bytes: int):
  text = _FUSION.format(lines=f'ROOT %u = {_UPDATE}', type='f32[100,8]{1,0}')
  call = text[text.index('ROOT %out = ') :].partition('\n')[0]
  program = hlo.parse(text.replace(call, f'ROOT %out = {line}'))
  main = program.computations['main']
  assert kernel_bytes(program, main, main.root) == num_bytes
