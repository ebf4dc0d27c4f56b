"""Every public function of `fps_jax.sharing` refuses what does not fit."""

import jax.numpy as jnp
import numpy as np
import pytest

from fps_jax import sharing
from fps_jax.sharing.schemes.shamir_sum import ShamirSum
from tests.helpers import input_messages, input_values, input_words
from tests.helpers.input_parts import CODEC, ROOT, SCHEME, SEEDS
from tests.helpers.inputs import check, public_names

CASES = {**input_words.CASES, **input_values.CASES, **input_messages.CASES}
# What takes no array and no number, or those that its callers have checked, or
# bytes, headers and device meshes, which other tests are about.
OTHERS = {
  'vector_sharing.Shamir',
  'vector_sharing.Shamir.add',
  'vector_sharing.Shamir.reconstruct',
  'vector_sharing.Shamir.reconstruct_floats',
  'vector_sharing.Shamir.share',
  'vector_sharing.Shamir.share_floats',
  'bits.check_padding',
  'chacha.blocks',
  'clear.decode_model',
  'clear.decode_positions_message',
  'clear.decode_quantised_update',
  'clear.decode_update',
  'decoding.max_errors',
  'field.PrimeField.sum_devices',
  'field.is_prime',
  'header.Header',
  'header.Header.check',
  'header.Header.check_route',
  'header.Header.decode',
  'header.Header.encode',
  'header.check_announced',
  'header.check_integers',
  'header.check_length',
  'header.encode_uint32',
  'header.read_header',
  'header.read_uint32',
  'header.scheme_numbers',
  'protocol.SumProtocol',
  'inbox.Inbox',
  'inbox.Inbox.receive',
  'inbox.SumInbox',
  'inbox.SumInbox.receive',
  'on_gpu.uniform_sums',
  'on_gpu.where_it_compiles',
  'channels.ClearChannel',
  'channels.Sent',
  'scheme.Setup',
  'protocol.Faults',
  'randomness.check_words',
  'randomness.fresh_root_key',
  'shared.decode_check',
  'shared.decode_seed',
  'shared.decode_share',
  'shared.decode_sum',
  'shared.seed_message_bytes',
}
# Where steps of sums are: codec, field and sharing check what those pass on.
SUMS = (
  'floats.Floats',
  'protocol',
  'channels',
  'ideal',
  'plain',
  'quantised',
  'scheme',
)


def test_every_public_function_is_in_a_list() -> None:
  listed = {*CASES, *OTHERS}
  found = {
    name
    for name in public_names(sharing)
    if name.count('.') < 2 or not name.startswith((*SUMS, 'shamir_sum'))
  }
  # Wrapped to be compiled once, and so no function to the list.
  assert found | {'field.is_prime'} == listed


@pytest.mark.parametrize('name', CASES)
def test_arguments_that_do_not_fit_are_refused_by_name(name: str) -> None:
  check(CASES[name])


@pytest.mark.parametrize(
  ('secrets', 'expected'),
  [
    (
      jnp.float32([[1.5, 2], [3, 4]]),
      r'float32 \[2, 2\], must be uint32 \[2, M',
    ),
    (
      jnp.uint32([[1, 2], [3, 2**32 - 1]]),
      r'4294967295 at \[1, 1\], must be in',
    ),
    (
      jnp.uint32([1, 2]),
      r'uint32 \[2\], must be uint32 \[2, M\]: give it these',
    ),
  ],
)
def test_secrets_that_were_taken_for_others_are_refused(
  secrets, expected
) -> None:
  with pytest.raises(ValueError, match=f'secrets_LxM is {expected}'):
    SCHEME.share(secrets, SEEDS)


def test_absent_servers_may_hold_anything() -> None:
  secrets = np.uint32([[1, 2, 3], [4, 5, 6]])
  shares = np.array(SCHEME.share(secrets, SEEDS))
  shares[1] = 2**32 - 1
  opened = SCHEME.reconstruct(jnp.asarray(shares), present=(1, 3, 4, 5))
  np.testing.assert_array_equal(opened, secrets)
  with pytest.raises(ValueError, match='shares_NxM is 4294967295'):
    SCHEME.reconstruct(jnp.asarray(shares), present=(1, 2, 4, 5))


def test_keys_of_a_round_are_of_clients_and_servers_that_there_are() -> None:
  make_keys = ShamirSum(CODEC, SCHEME, SCHEME.server_points).make_keys
  clients = np.int32([3, -1])
  make_keys(ROOT, 0, clients, (5,), 1)
  for wrong, name in (
    ((ROOT, -1, clients), 'round_number'),
    ((ROOT, 0, clients - 1), 'client_ids'),
    ((ROOT, 0, clients, (6,)), 'lying_servers'),
    ((ROOT, 0, clients, (), 2**32), 'attempt'),
    ((ROOT[:7], 0, clients), 'key_8'),
  ):
    with pytest.raises(ValueError, match=name):
      make_keys(*wrong)
