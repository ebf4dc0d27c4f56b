"""Cases of messages and what they are packed of, for `sharing_inputs_test`."""

import numpy as np

from fps_jax.sharing.messages import bits, clear, positions, shared
from fps_jax.sharing.messages.header import Header, Kind, scheme_numbers
from tests.helpers.input_parts import (
  FLOATS,
  NUMBERS,
  ROOT,
  SCHEME,
  outside,
  words,
)
from tests.helpers.inputs import Case

MASK = np.array([True, False, True])
NO_COUNTS = (-1, 2**32, 1.5)


def of_kind(kind: Kind, num_values: int, receiver: int = 4) -> Header:
  is_shared = kind in (Kind.SEED, Kind.SHARE, Kind.SUM, Kind.CHECK)
  numbers = scheme_numbers(SCHEME if is_shared else None)
  return Header(kind, 7, 3, receiver, num_values, **numbers)


PACKING_CASES = {
  'bits.packed_bytes': Case(
    bits.packed_bytes,
    {'num_words': 3, 'bits': 8},
    wrong={'num_words': NUMBERS, 'bits': (*NUMBERS, 33)},
  ),
  'bits.pack_words': Case(
    bits.pack_words,
    {'words_M': [1, 2], 'bits': 8},
    wrong={
      'words_M': ([1.5], [[1]], ['a'], [256], [-1]),
      'bits': (*NUMBERS, 33),
    },
    names={'words_M': 'words?(_M)?'},
  ),
  'bits.unpack_words': Case(
    bits.unpack_words,
    {'payload': b'\1\2', 'num_words': 2, 'bits': 8},
    wrong={'num_words': NUMBERS, 'bits': (*NUMBERS, 33)},
  ),
  'positions.position_bytes': Case(
    positions.position_bytes,
    {'size': 8, 'count': 3},
    wrong={'size': NUMBERS, 'count': (*NUMBERS, 9)},
  ),
  'positions.encode_positions': Case(
    positions.encode_positions,
    {'mask_D': MASK},
    free=('mask_D',),
    is_traceable=False,
  ),
  'positions.decode_positions': Case(
    positions.decode_positions,
    {'payload': b'\5', 'size': 3, 'count': 2},
    wrong={'size': NUMBERS, 'count': (*NUMBERS, 4)},
  ),
}
WIRE_CASES = {
  'shared.share_message_bytes': Case(
    shared.share_message_bytes,
    {'num_values': 3, 'scheme': SCHEME},
    wrong={'num_values': NUMBERS},
  ),
  'shared.sum_message_bytes': Case(
    shared.sum_message_bytes,
    {'num_values': 3, 'scheme': SCHEME},
    wrong={'num_values': NUMBERS},
  ),
  'shared.check_message_bytes': Case(
    shared.check_message_bytes,
    {'num_clients': 3, 'num_checks': 2, 'scheme': SCHEME},
    wrong={'num_clients': NUMBERS, 'num_checks': NUMBERS},
  ),
  'shared.encode_seed': Case(
    shared.encode_seed,
    {
      'header': of_kind(Kind.SEED, 5, receiver=1),
      'key_8': ROOT,
      'scheme': SCHEME,
    },
    wrong={'key_8': (words(7), np.float32(ROOT), words(1, 8))},
    any_type=('key_8',),
    names={'key_8': 'seed'},
    is_traceable=False,
  ),
  'shared.encode_share': Case(
    shared.encode_share,
    {
      'header': of_kind(Kind.SHARE, 5),
      'words_W': words(3),
      'scheme': SCHEME,
    },
    wrong={
      'words_W': (
        *outside(words(3)),
        np.float32(words(3)),
        words(3, 1),
        words(4),
      )
    },
    any_type=('words_W',),
    names={'words_W': 'words?(_W)?'},
    is_traceable=False,
  ),
  'shared.encode_sum': Case(
    shared.encode_sum,
    {
      'header': of_kind(Kind.SUM, 5),
      'num_clients': 2,
      'digest': bytes(16),
      'words_W': words(3),
      'scheme': SCHEME,
    },
    wrong={
      'num_clients': NO_COUNTS,
      'digest': (bytes(15),),
      'words_W': (*outside(words(3)), np.float32(words(3)), words(3, 1)),
    },
    any_type=('words_W',),
    names={'words_W': 'words?(_W)?'},
    is_traceable=False,
  ),
  'shared.encode_check': Case(
    shared.encode_check,
    {
      'header': of_kind(Kind.CHECK, 5),
      'checks_CxR': words(5, 2),
      'scheme': SCHEME,
    },
    wrong={
      'checks_CxR': (*outside(words(5, 2)), np.float32(words(5, 2)), words(5))
    },
    any_type=('checks_CxR',),
    names={'checks_CxR': '(words?|checks_CxR)'},
    is_traceable=False,
  ),
  'shared.client_set_digest': Case(
    shared.client_set_digest,
    {'clients': [1, 2]},
    wrong={'clients': ([-1], [2**32], [1.5], [1, 1])},
    names={'clients': 'client'},
  ),
}
CLEAR_CASES = {
  'clear.update_message_bytes': Case(
    clear.update_message_bytes,
    {'num_values': 3},
    wrong={'num_values': NUMBERS},
  ),
  'clear.quantised_update_message_bytes': Case(
    clear.quantised_update_message_bytes,
    {'num_values': 3, 'value_bits': 8},
    wrong={'num_values': NUMBERS, 'value_bits': (1, 17, 8.0)},
    names={'num_values': 'num_words'},
  ),
  'clear.positions_message_bytes': Case(
    clear.positions_message_bytes,
    {'num_params': 8, 'num_sent': 3},
    wrong={'num_params': NUMBERS, 'num_sent': (*NUMBERS, 9)},
    names={'num_params': 'size', 'num_sent': 'count'},
  ),
  'clear.model_message_bytes': Case(
    clear.model_message_bytes,
    {'num_params': 8, 'num_kept': 3},
    wrong={'num_params': NUMBERS, 'num_kept': (*NUMBERS, 9)},
  ),
  'clear.encode_update': Case(
    clear.encode_update,
    {'header': of_kind(Kind.UPDATE, 3), 'values_M': FLOATS, 'count': 6},
    wrong={'count': NO_COUNTS},
    # It says how many values there are.
    free=('values_M',),
    is_traceable=False,
  ),
  'clear.encode_quantised_update': Case(
    clear.encode_quantised_update,
    {
      'header': of_kind(Kind.QUANTISED_UPDATE, 3),
      'rounded_M': np.int32([1, 2, 3]),
      'value_bits': 8,
      'count': 6,
    },
    wrong={
      'rounded_M': (np.float32([1, 2, 3]), np.int32([[1, 2, 3]])),
      'value_bits': (1, 17, 8.0),
      'count': NO_COUNTS,
    },
    any_type=('rounded_M',),
    names={'rounded_M': '(values|rounded_M)'},
    is_traceable=False,
  ),
  'clear.encode_positions_message': Case(
    clear.encode_positions_message,
    {'header': of_kind(Kind.POSITIONS, 3), 'mask_D': MASK},
    free=('mask_D',),
    is_traceable=False,
  ),
  'clear.encode_model': Case(
    clear.encode_model,
    {
      'round_number': 3,
      'receiver': 1,
      'params_D': np.float32([1, 0, 3]),
      'mask_D': MASK,
    },
    wrong={
      'round_number': (*NUMBERS, 2**20),
      'receiver': (*NUMBERS, 2**32),
      'attempt': (*NUMBERS, 2**12),
    },
    # The mask is named.
    free=('params_D',),
    names={'round_number': 'round'},
    is_traceable=False,
  ),
}
CASES = {**PACKING_CASES, **WIRE_CASES, **CLEAR_CASES}
