"""Cases of values, sketches and audits, for `sharing_inputs_test`."""

import numpy as np

from fps_jax.sharing import audit, codec, decoding
from fps_jax.sharing.schemes.channels import ShareChannel
from fps_jax.sharing.schemes.ideal import IdealSum
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from fps_jax.sharing.sketches import projection, range_check, sketch
from tests.helpers.input_parts import (
  AUDITOR,
  CODEC,
  FIELD,
  FLOATS,
  KEY,
  NUMBERS,
  SCHEME,
  SECRETS,
  SHARES,
  P,
  outside,
  words,
)
from tests.helpers.inputs import Case

SKETCH = sketch.Sketch(2, FIELD)
PROJECTION = projection.Projection(2, 10, FIELD)
CHECK = range_check.RangeCheck(FIELD, 4)
COINS = words(AUDITOR.num_checks, 8)
CHECKS = np.zeros((AUDITOR.num_checks, 5), np.uint32)

CODEC_CASES = {
  'codec.levels_of': Case(
    codec.levels_of, {'value_bits': 8}, wrong={'value_bits': (1, 17, 8.0)}
  ),
  'codec.round_randomly': Case(
    codec.round_randomly,
    {'scaled': FLOATS, 'key': KEY, 'first': 4},
    wrong={'first': (*NUMBERS, 2**32)},
    any_rank=('scaled',),
  ),
  'codec.Codec': Case(
    codec.Codec,
    {
      'field': FIELD,
      'clip': 0.25,
      'value_bits': 8,
      'max_clients': 9,
      'max_count': 60,
    },
    wrong={
      'clip': (0.0, -1.0, np.nan, np.inf),
      'value_bits': (1, 17, 8.0),
      'max_clients': (0, 9.0),
      'max_count': (0, 60.0),
    },
  ),
  'codec.Codec.encode': Case(
    CODEC.encode,
    {'values': FLOATS, 'key': KEY, 'first': 4},
    wrong={'first': (*NUMBERS, 2**32)},
    any_rank=('values',),
  ),
  'codec.Codec.decode': Case(
    CODEC.decode,
    {'words': SECRETS},
    wrong={'words': outside(SECRETS)},
    any_rank=('words',),
  ),
  'coder.OfField.decode_count': Case(
    CODEC.decode_count,
    {'words': SECRETS},
    wrong={'words': outside(SECRETS)},
    any_rank=('words',),
  ),
  'coder.OfField.encode_count': Case(
    CODEC.encode_count,
    {'count': np.int32([3])},
    wrong={'count': (np.int32([-1]), np.int32([61]))},
    any_rank=('count',),
  ),
  'codec.Codec.count_clipped': Case(
    CODEC.count_clipped, {'values': FLOATS}, any_rank=('values',)
  ),
}
SKETCH_CASES = {
  'sketch.Sketch': Case(
    sketch.Sketch, {'num_buckets': 2}, wrong={'num_buckets': (0, 1.5, True)}
  ),
  'sketch.Sketch.apply': Case(
    SKETCH.apply,
    {'columns': SECRETS, 'key': KEY, 'number': 0},
    wrong={'columns': outside(SECRETS), 'number': NUMBERS},
    any_rank=('columns',),
  ),
  'sketch.Sketch.add': Case(
    SKETCH.add,
    {'a': SECRETS, 'b': SECRETS},
    wrong={'a': outside(SECRETS), 'b': outside(SECRETS)},
    any_rank=('a', 'b'),
  ),
  'projection.Projection': Case(
    projection.Projection,
    {'num_sums': 2, 'limit': 10, 'field': FIELD},
    wrong={'num_sums': (0, 1.5), 'limit': (0, 1.5, P)},
  ),
  'projection.Projection.fit': Case(
    projection.Projection.fit,
    {
      'num_sums': 2,
      'num_pieces': 1,
      'piece_columns': 4,
      'largest': 7,
      'field': FIELD,
    },
    wrong=dict.fromkeys(
      ('num_sums', 'num_pieces', 'piece_columns', 'largest'), (0, 1.5)
    ),
  ),
  'projection.Projection.step': Case(
    PROJECTION.step,
    {'vector_M': FLOATS},
    wrong={'vector_M': (np.float32([1, np.nan]), np.float32([np.inf]))},
    free=('vector_M',),
  ),
  'projection.Projection.multiples': Case(
    PROJECTION.multiples,
    {'vector_M': FLOATS, 'key': KEY},
    wrong={'vector_M': (np.float32([1, np.nan]), np.float32([-np.inf]))},
    free=('vector_M',),
  ),
  'projection.Projection.apply': Case(
    PROJECTION.apply,
    {'columns': words(3, 4), 'multiples_LxW': np.int32([[1, 2, 3, -4]])},
    wrong={
      'columns': outside(words(3, 4)),
      'multiples_LxW': (np.int32([[1, 2, 3, 11]]), np.int32([[1, 2, 3]])),
    },
    any_rank=('columns',),
    free=('multiples_LxW',),
  ),
  'projection.Projection.total': Case(
    PROJECTION.total,
    {'opened_CxV': np.ones((3, 8), np.float32)},
    wrong={'opened_CxV': (np.ones((3, 7), np.float32),)},
    free=('opened_CxV',),
  ),
  'projection.fewest_sums': Case(
    projection.fewest_sums,
    {'num_columns': 4, 'largest': 7, 'field': FIELD},
    wrong={'num_columns': (0, 1.5), 'largest': (0, 1.5)},
  ),
  'range_check.RangeCheck': Case(
    range_check.RangeCheck,
    {'field': FIELD, 'num_sums': 4},
    wrong={'num_sums': (0, 1.5, True)},
  ),
  'range_check.RangeCheck.apply': Case(
    CHECK.apply,
    {'columns': SECRETS, 'key': KEY, 'number': 0},
    wrong={'columns': outside(SECRETS), 'number': NUMBERS},
    any_rank=('columns',),
  ),
  'range_check.RangeCheck.is_within': Case(
    CHECK.is_within,
    {'sums_CxV': np.ones((3, 4), np.float32), 'norms_C': FLOATS},
    # The norms are named.
    free=('sums_CxV',),
  ),
}
AUDIT_CASES = {
  'audit.Auditor': Case(
    audit.Auditor,
    {'scheme': SCHEME, 'present': (1, 2, 3, 4)},
    wrong={'present': ((1, 2, 3), (1, 2, 3, 6), (1, 2, 2, 3))},
    names={'present': 'servers'},
  ),
  'audit.Auditor.coefficients': Case(
    AUDITOR.coefficients,
    {'coins_Qx8': COINS, 'first_column': 16, 'num_columns': 3},
    wrong={'coins_Qx8': (words(2, 8), words(3, 7))},
  ),
  'audit.Auditor.combine': Case(
    AUDITOR.combine,
    {'rows_NxW': SHARES, 'coefficients_QxW': words(3, 16)},
    wrong={
      'rows_NxW': outside(SHARES),
      'coefficients_QxW': (*outside(words(3, 16)), words(3, 15)),
    },
    free=('coefficients_QxW',),
  ),
  'audit.Auditor.blind': Case(AUDITOR.blind, {'blinds_Kx8': words(4, 8)}),
  'audit.Auditor.examine': Case(
    AUDITOR.examine,
    {
      'held_NxM': SHARES,
      'coins_Qx8': COINS,
      'num_tiles': 1,
      'tile_columns': 16,
    },
    wrong={
      'coins_Qx8': (words(2, 8), words(3, 7)),
      'num_tiles': (*NUMBERS, 2),
      'tile_columns': (*NUMBERS, 0),
    },
  ),
  'audit.Auditor.find_wrong_servers': Case(
    AUDITOR.find_wrong_servers,
    {'checks_QxN': CHECKS},
    wrong={'checks_QxN': (CHECKS[:, :4],)},
    free=('checks_QxN',),
    is_traceable=False,
  ),
  'audit.Auditor.find_inconsistent_clients': Case(
    AUDITOR.find_inconsistent_clients,
    {'checks': {3: CHECKS}},
    wrong={'checks': ({3: CHECKS[:, :4]}, {3: np.float32(CHECKS)})},
    is_traceable=False,
  ),
  'audit.Auditor.opening_without': Case(
    AUDITOR.opening_without,
    {'wrong': (2,)},
    wrong={'wrong': ((2, 3),)},
    names={'wrong': 'servers'},
  ),
  'decoding.locate_errors': Case(
    decoding.locate_errors,
    {'shares': {1: 8, 2: 9, 3: 10}, 'threshold': 2, 'modulus': 101},
    wrong={
      'shares': ({1: 8}, {1: 8, 102: 9}, {1: 8.5, 2: 9}, {1.5: 8, 2: 9}),
      'threshold': (0, 4, 1.5),
      'modulus': (1, 101.0),
    },
    names={'shares': '(shares?|server)'},
  ),
  'channels.ShareChannel': Case(
    ShareChannel,
    {'shamir': SCHEME, 'num_sending': 4},
    wrong={'num_sending': (-1, 6)},
  ),
  'ideal.IdealSum': Case(
    IdealSum,
    {'codec': CODEC, 'alignment': 2},
    wrong={'alignment': (0, 1.5, True)},
  ),
  'shamir_sum.ShamirSum': Case(
    ShamirSum,
    {'codec': CODEC, 'shamir': SCHEME, 'present': (1, 2, 3, 4)},
    wrong={'present': ((1, 2, 3), (1, 2, 3, 6))},
    names={'present': 'servers'},
  ),
}
CASES = {**CODEC_CASES, **SKETCH_CASES, **AUDIT_CASES}
