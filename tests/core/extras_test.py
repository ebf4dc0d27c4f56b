"""A package that is missing is named with what installs it."""

import sys

import pytest

from fps_jax.core import extras


@pytest.mark.parametrize(
  ('package', 'require', 'message'),
  [
    ('tensorflow_datasets', extras.require_tfds, r'a TFDS data .*jax\[tfds\]'),
    ('matplotlib', extras.require_figures, r'a report needs .*\[figures\]'),
    ('orbax', extras.require_checkpoints, r'checkpoint.every.*\[checkpoints\]'),
  ],
)
def test_missing_package_is_named_with_its_extra(
  package, require, message, monkeypatch
):
  require()
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(extras.MissingPackageError, match=message) as caught:
    require()
  assert isinstance(caught.value, ValueError)
