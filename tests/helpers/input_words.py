"""Cases of fields, schemes and their randomness, for `sharing_inputs_test`."""

import numpy as np

from fps_jax.sharing import chacha, field, on_host, randomness, shamir
from fps_jax.sharing.randomness import Purpose
from tests.helpers.input_parts import (
  FIELD,
  NUMBERS,
  RANDOM,
  ROOT,
  SCHEME,
  SECRETS,
  SEEDS,
  SHARES,
  P,
  outside,
  words,
)
from tests.helpers.inputs import Case

OPENING = SCHEME.opening(SCHEME.server_points)
NO_NUMBERS = (-1, 2**32, 1.5)
NO_OWNERS = (*NO_NUMBERS, np.array([0, -1]), np.array([2**32]))

FIELD_CASES = {
  'field.largest_prime': Case(
    field.largest_prime, {'bits': 8}, wrong={'bits': (1, 32, 8.0)}
  ),
  'field.PrimeField': Case(
    field.PrimeField, {'modulus': 7}, wrong={'modulus': (7.0, True, 4, 2**31)}
  ),
  'field.PrimeField.check': Case(
    lambda array: FIELD.check('array', array),
    {'array': SECRETS},
    wrong={'array': outside(SECRETS)},
    any_rank=('array',),
  ),
  'field.PrimeField.check_rows': Case(
    lambda rows_SxM: FIELD.check_rows('rows_SxM', rows_SxM, words(3, 2)),
    {'rows_SxM': SECRETS},
    wrong={'rows_SxM': outside(SECRETS)},
  ),
  **{
    f'field.PrimeField.{name}': Case(
      getattr(FIELD, name),
      {'a': SECRETS, 'b': SECRETS},
      wrong={
        'a': (*outside(SECRETS), words(3, 5)),
        'b': (*outside(SECRETS), words(3, 5)),
      },
      any_rank=('a', 'b'),
    )
    for name in ('add', 'multiply')
  },
  'field.PrimeField.sum': Case(
    FIELD.sum,
    {'a': SECRETS},
    wrong={'a': (*outside(SECRETS), np.uint32(3))},
    any_rank=('a',),
  ),
  'field.PrimeField.signed_sums': Case(
    FIELD.signed_sums,
    {'a': words(4), 'signs_WxS': np.float32(np.eye(4))},
    wrong={
      'a': outside(words(4)),
      'signs_WxS': (np.full((4, 4), np.nan, np.float32),),
    },
    any_rank=('a',),
  ),
  'field.PrimeField.matmul': Case(
    FIELD.matmul,
    {'matrix_RxS': words(3, 2), 'rows_SxM': SECRETS},
    wrong={
      'matrix_RxS': outside(words(3, 2)),
      'rows_SxM': (*outside(SECRETS), [SECRETS[0], np.float32(SECRETS[1])]),
    },
    free=('matrix_RxS',),
  ),
  'field.PrimeField.dot': Case(
    FIELD.dot,
    {'a_QxM': SECRETS, 'b_RxM': SECRETS},
    wrong={
      'a_QxM': outside(SECRETS),
      'b_RxM': (*outside(SECRETS), words(2, 3)),
    },
    free=('a_QxM', 'b_RxM'),
  ),
  'field.PrimeField.lagrange_matrix': Case(
    FIELD.lagrange_matrix,
    {'known': (1, 2), 'wanted': (3,)},
    wrong={'known': ((1, 2.0), (True,)), 'wanted': ((3.0,),)},
  ),
  'field.PrimeField.negate': Case(
    FIELD.negate,
    {'a': SECRETS},
    wrong={'a': outside(SECRETS)},
    any_rank=('a',),
  ),
  'field.PrimeField.from_signed': Case(
    FIELD.from_signed,
    {'a': np.int32([1, -1])},
    wrong={'a': (np.int32([1, P]), np.int32([-P, 0]))},
    any_rank=('a',),
  ),
  'field.PrimeField.to_signed': Case(
    FIELD.to_signed,
    {'a': SECRETS},
    wrong={'a': outside(SECRETS)},
    any_rank=('a',),
  ),
}
SCHEME_CASES = {
  'shamir.Shamir': Case(
    shamir.Shamir,
    {
      'field': FIELD,
      'num_servers': 5,
      'threshold': 3,
      'secrets_per_polynomial': 1,
    },
    wrong={
      'num_servers': (0, 5.0, True),
      'threshold': (0, 6, 3.0),
      'secrets_per_polynomial': (0, 4, 1.0),
    },
  ),
  'shamir.Shamir.num_columns': Case(
    SCHEME.num_columns, {'num_values': 3}, wrong={'num_values': NUMBERS}
  ),
  **{
    f'shamir.Shamir.{name}': Case(
      getattr(SCHEME, name),
      {'secrets_LxM': SECRETS, 'random_ZxM': RANDOM},
      wrong={
        'secrets_LxM': outside(SECRETS),
        'random_ZxM': (*outside(RANDOM), words(2, 3)),
      },
    )
    for name in ('explicit_shares', 'share_with')
  },
  'shamir.Shamir.share': Case(
    SCHEME.share,
    {'secrets_LxM': SECRETS, 'seeds_Zx8': SEEDS},
    wrong={'secrets_LxM': outside(SECRETS), 'seeds_Zx8': (words(2, 7),)},
  ),
  'shamir.Shamir.present_without': Case(
    SCHEME.present_without,
    {'missing': (2,)},
    wrong={'missing': ((0,), (6,), (2, 2))},
  ),
  **{
    f'shamir.Shamir.{name}': Case(
      getattr(SCHEME, name),
      {'present': (1, 2, 3, 4)},
      wrong={'present': ((0, 1, 2, 3), (1, 2, 3, 6), (1, 1, 2, 3))},
      names={'present': 'servers'},
    )
    for name in ('choose_servers', 'opening', 'check_matrix')
  },
  'shamir.Shamir.open_shares': Case(
    SCHEME.open_shares,
    {'shares_NxM': SHARES, 'opening_LxN': OPENING},
    wrong={
      'shares_NxM': tuple(np.roll(a, 1, axis=0) for a in outside(SHARES)),
      'opening_LxN': (*outside(OPENING), words(2, 4)),
    },
    # It says how many rows there are.
    free=('shares_NxM',),
  ),
  'shamir.Shamir.reconstruct': Case(
    SCHEME.reconstruct,
    {'shares_NxM': SHARES, 'present': (2, 3, 4, 5)},
    wrong={'shares_NxM': outside(SHARES)},
    free=('shares_NxM',),
  ),
  'on_host.share_in_tiles': Case(
    on_host.share_in_tiles,
    {
      'scheme': SCHEME,
      'secrets_LxM': SECRETS,
      'seeds_Zx8': SEEDS,
      'tile_columns': 16,
    },
    wrong={
      'secrets_LxM': outside(SECRETS),
      'seeds_Zx8': (words(2, 7),),
      'tile_columns': (*NUMBERS, 0, 8),
    },
    is_traceable=False,
  ),
  'on_host.add_in_tiles': Case(
    on_host.add_in_tiles,
    {
      'scheme': SCHEME,
      'held': [],
      'secrets_LxM': SECRETS[:, :0],
      'seeds_Zx8': SEEDS,
    },
    wrong={
      'held': ([words(4, 16)], [np.float32(words(5, 16))], [words(16)]),
      'secrets_LxM': outside(SECRETS),
    },
    is_traceable=False,
  ),
}
RANDOM_CASES = {
  'randomness.root_key': Case(
    randomness.root_key, {'seed': 3}, wrong={'seed': (*NUMBERS, 2**64)}
  ),
  'randomness.make_root_key': Case(
    randomness.make_root_key,
    {'entropy': 'seed', 'seed': 3},
    wrong={'entropy': ('dice',), 'seed': (*NUMBERS, 2**64)},
  ),
  'randomness.derive': Case(
    randomness.derive,
    {
      'key_8': ROOT,
      'purpose': Purpose.SHARE,
      'number': 3,
      'first': np.arange(3),
      'second': 0,
    },
    wrong=dict.fromkeys(('number', 'first', 'second'), NO_OWNERS),
    any_type=('first',),
    is_traceable=False,
  ),
  'randomness.round_key': Case(
    randomness.round_key,
    {'root_8': ROOT, 'round_number': 3, 'attempt': 1},
    wrong={'round_number': NO_NUMBERS, 'attempt': NO_NUMBERS},
    names={'root_8': 'key_8'},
    is_traceable=False,
  ),
  'randomness.keys': Case(
    randomness.keys,
    {
      'round_key_8': ROOT,
      'purpose': Purpose.SHARE,
      'num_keys': 3,
      'owners': np.arange(3),
    },
    wrong={'num_keys': NO_NUMBERS, 'owners': NO_OWNERS},
    any_type=('owners',),
    names={'round_key_8': 'key_8'},
    is_traceable=False,
  ),
  **{
    f'{module}.uniform': Case(
      function,
      {
        'keys_Zx8': SEEDS,
        'first_word': 16,
        'num_words': 3,
        'field': FIELD,
      },
      wrong={
        'keys_Zx8': (words(2, 7), words(2, 9)),
        'first_word': (*NUMBERS, 8, -16, 2**32),
        'num_words': NUMBERS,
      },
      free=('keys_Zx8',),
      is_traceable=function is randomness.uniform,
    )
    for module, function in (
      ('randomness', randomness.uniform),
      ('on_host', on_host.uniform),
    )
  },
  'randomness.uniform_sums': Case(
    randomness.uniform_sums,
    {
      'keys_CxZx8': words(3, 2, 8),
      'ends_C': np.int32([0, 2, 3]),
      'first_word': 16,
      'num_words': 3,
      'field': FIELD,
    },
    wrong={
      'keys_CxZx8': (words(3, 2, 7),),
      'first_word': (*NUMBERS, 8, -16, 2**32),
      'num_words': NUMBERS,
    },
    free=('keys_CxZx8',),
  ),
  'chacha.keystream': Case(
    chacha.keystream,
    {'key': ROOT, 'nonce': words(3), 'first_block': 0, 'num_blocks': 1},
    wrong={
      'key': (words(7),),
      'nonce': (words(2, 3),),
      'first_block': NUMBERS,
      'num_blocks': NUMBERS,
    },
    any_rank=('key',),
  ),
  'chacha.blocks_on_host': Case(
    chacha.blocks_on_host,
    {'state': words(12)},
    wrong={'state': (words(11), np.uint32(1))},
    any_rank=('state',),
    is_traceable=False,
  ),
  'on_host.keystream': Case(
    on_host.keystream,
    {'state': words(12), 'num_words': 16},
    wrong={'state': (words(11),), 'num_words': (*NUMBERS, 8)},
    any_rank=('state',),
    is_traceable=False,
  ),
}
CASES = {**FIELD_CASES, **SCHEME_CASES, **RANDOM_CASES}
