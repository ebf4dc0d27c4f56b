"""Makes `mnist_sample.npz` again from a prepared MNIST.

  python -m fps_jax.data.make_mnist_sample \
      --tfds_data_dir=DIR --output=mnist_sample.npz

The arrays are those of the bundled file, or nothing is written; the bytes are
too, under one version of NumPy and zlib.
"""

import argparse
import pathlib
from collections.abc import Sequence

from fps_jax.data.mnist_sample import (
  ARRAY_SHA256,
  array_sha256,
  draw_mnist_sample,
)
from fps_jax.data.npz_file import write_npz
from fps_jax.data.tfds_source import load_tfds


def main(arguments: Sequence[str] | None = None) -> None:
  """Reads MNIST, draws the sample and writes it.

  Args:
    arguments: command line after the program name; None means `sys.argv`.

  Raises:
    FileNotFoundError: if MNIST is not prepared in --tfds_data_dir.
    ValueError: if the drawn arrays are not those of the bundled sample.
  """
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--tfds_data_dir', help='default: TFDS_DATA_DIR')
  parser.add_argument('--output', type=pathlib.Path, required=True)
  options = parser.parse_args(arguments)
  sample = draw_mnist_sample(load_tfds('mnist', options.tfds_data_dir))
  for field, expected in ARRAY_SHA256.items():
    actual = array_sha256(getattr(sample, field))
    if actual != expected:
      raise ValueError(
        f'{field} has SHA-256 {actual}, not {expected}: check that '
        '--tfds_data_dir holds MNIST 3.0.1 unchanged'
      )
  write_npz(options.output, sample, compress=True)


if __name__ == '__main__':
  main()
