"""Packages that only some of the work needs: imported where it is done."""

import importlib.util


class MissingPackageError(ImportError, ValueError):
  """A package is not installed; the message says how it would be."""


def require(package: str, extra: str, purpose: str) -> None:
  """Checks that a package is there, without importing it.

  Args:
    package: that is imported.
    extra: of this package, that names it.
    purpose: what needs it, as the message begins.

  Raises:
    MissingPackageError: if it is not installed.
  """
  if importlib.util.find_spec(package) is None:
    raise MissingPackageError(
      f'{purpose} needs the package {package}: install it with '
      f"pip install 'fps_jax[{extra}]'"
    )


def require_figures() -> None:
  """Checks that reports can be written; errors as of `require`."""
  for package in ('matplotlib', 'jinja2'):
    require(package, 'figures', 'a report')


def require_checkpoints() -> None:
  """Checks that checkpoints can be kept; errors as of `require`."""
  require('orbax', 'checkpoints', 'checkpoint.every_rounds above 0')


def require_tfds() -> None:
  """Checks that TFDS data sets can be read; errors as of `require`."""
  require('tensorflow_datasets', 'tfds', 'a TFDS data set')
