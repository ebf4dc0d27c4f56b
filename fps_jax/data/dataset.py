"""The one in-memory form of a data set, and what valid data is.

Every source (`mnist_sample`, `text`, `tfds_source`, `npz_file`, `fake`) returns
a `Dataset`, which checks itself, and everything downstream reads one.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from fps_jax.data.stored import Stored

# Of a sequence's target, where it is shorter than others.
PADDING = -1
_SPLITS = ('train', 'test')


class Signature(NamedTuple):
  """What a model has to know of a data set.

  Attributes:
    name: of the data set.
    input_shape: of one example's input.
    input_dtype: of inputs, by NumPy's name.
    num_classes: length of what a model returns for each target.
  """

  name: str
  input_shape: tuple[int, ...]
  input_dtype: str
  num_classes: int

  @property
  def are_images(self) -> bool:
    """Whether inputs are images of 8 bits a pixel."""
    return self.input_dtype == 'uint8'


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """Inputs and targets of a train and a test split, checked when built.

  >>> dataset = Dataset(
  ...     name='two_pixels',
  ...     train_inputs=np.zeros((3, 1, 2, 1), np.uint8),
  ...     train_targets=np.array([0, 1, 0], np.int32),
  ...     test_inputs=np.zeros((1, 1, 2, 1), np.uint8),
  ...     test_targets=np.array([1], np.int32),
  ...     num_classes=2,
  ...     train_clients=np.array([17, 17, 4]),
  ... )
  >>> dataset.input_shape, dataset.has_images
  ((1, 2, 1), True)

  Inputs are one of
    - images, uint8 [n, height, width, channels], which are scaled by
      `data.pixel_mean` and `data.pixel_std` before a model sees them;
    - numbers, float32 [n, ...], all finite, which it is given as they are;
    - tokens or other whole numbers, int32 [n, ...], likewise.

  Targets are one of
    - classes, int32 [n], each in [0, num_classes);
    - sequences of classes, int32 [n, T], likewise or -1 for padding, of which
      no example may consist;
    - numbers, float32 [n, num_classes], all finite.

  Inputs may be `data.stored.Stored`, as those of a process are that needs some
  of them alone.

  Attributes:
    name: what the data is called in logs and errors.
    train_inputs: of at least one example and at least one value.
    train_targets: one a train example.
    test_inputs: like `train_inputs`, in type and in shape but for n.
    test_targets: like `train_targets`.
    num_classes: length of what a model returns for each target, >= 1: classes,
      of which some may have no example, or numbers.
    train_clients: int [n], whose each train example is, by numbers of any kind;
      None where examples are dealt to clients (`data.partition`).
    test_clients: the same of test examples.

  Raises:
    ValueError: if a field breaks one of the rules above.
  """

  name: str
  train_inputs: np.ndarray
  train_targets: np.ndarray
  test_inputs: np.ndarray
  test_targets: np.ndarray
  num_classes: int
  train_clients: np.ndarray | None = None
  test_clients: np.ndarray | None = None

  def __post_init__(self) -> None:
    """Checks every field; see the class docstring."""
    if self.num_classes < 1:
      raise ValueError(
        f'{self.name}: num_classes={self.num_classes} is below 1: count the '
        'classes of the targets, or the numbers in each'
      )
    for split in _SPLITS:
      inputs = getattr(self, f'{split}_inputs')
      targets = getattr(self, f'{split}_targets')
      clients = getattr(self, f'{split}_clients')
      _check_inputs(f'{self.name}: {split}_inputs', inputs)
      _check_targets(
        f'{self.name}: {split}_targets', targets, len(inputs), self.num_classes
      )
      if clients is not None:
        _check_clients(f'{self.name}: {split}_clients', clients, len(inputs))
    for kind in ('inputs', 'targets'):
      _check_alike(
        f'{self.name}: {kind}',
        getattr(self, f'train_{kind}'),
        getattr(self, f'test_{kind}'),
      )

  @property
  def signature(self) -> Signature:
    """What a model has to know of it."""
    dtype = str(self.train_inputs.dtype)
    return Signature(self.name, self.input_shape, dtype, self.num_classes)

  @property
  def input_shape(self) -> tuple[int, ...]:
    """Shape of one example's input."""
    return self.train_inputs.shape[1:]

  @property
  def has_images(self) -> bool:
    """Whether inputs are images of 8 bits a pixel."""
    return self.signature.are_images

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Shape of one image: (height, width, channels).

    Raises:
      ValueError: if inputs are no images.
    """
    if not self.has_images:
      raise ValueError(
        f'{self.name} has {self.train_inputs.dtype} inputs of shape '
        f'{self.input_shape}, which are no images: use a set of uint8 images '
        '[n, height, width, channels]'
      )
    height, width, channels = self.input_shape
    return height, width, channels


def is_label(targets: np.ndarray) -> bool:
  """Returns whether targets are integers [n]: a class for each example."""
  return targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)


def _check_inputs(what: str, inputs: np.ndarray) -> None:
  """Raises ValueError unless inputs are of a kind that `Dataset` has."""
  if inputs.dtype not in (np.uint8, np.int32, np.float32):
    raise ValueError(
      f'{what} have dtype {inputs.dtype}, not uint8, int32 or float32: scale '
      'pixels to 0..255 and cast them to uint8, cast tokens to int32 and other '
      'numbers to float32'
    )
  if inputs.dtype == np.uint8 and inputs.ndim != 4:
    raise ValueError(
      f'{what} have shape {inputs.shape}, not [n, height, width, channels] as '
      'uint8 images: reshape them, with channels=1 for grey images, or cast '
      'what is no image to int32 or float32'
    )
  if inputs.ndim < 2 or inputs.size == 0:
    raise ValueError(
      f'{what} have shape {inputs.shape}, which holds no value of an example: '
      'give [n, ...] with at least one example of at least one value'
    )
  _check_finite(what, inputs)


def _check_targets(
  what: str, targets: np.ndarray, num_examples: int, num_classes: int
) -> None:
  """Raises ValueError unless targets are of a kind that `Dataset` has."""
  if targets.dtype not in (np.int32, np.float32):
    raise ValueError(
      f'{what} have dtype {targets.dtype}, not int32 or float32: cast classes '
      'to int32 and other numbers to float32'
    )
  kind = '[n, num_classes]'
  fits = targets.shape == (num_examples, num_classes)
  if targets.dtype == np.int32:
    kind = '[n] or [n, T]'
    fits = targets.ndim in (1, 2) and len(targets) == num_examples
  if not fits or not targets.size:
    raise ValueError(
      f'{what} are {targets.dtype} of shape {targets.shape}, not {kind} with '
      f'n={num_examples} and num_classes={num_classes}: give one target per '
      'example, and as num_classes the length of one of numbers'
    )
  if targets.dtype == np.float32:
    _check_finite(what, targets)
    return
  least = 0 if targets.ndim == 1 else PADDING
  if targets.min() < least or targets.max() >= num_classes:
    raise ValueError(
      f'{what} span [{targets.min()}, {targets.max()}], outside '
      f'[{least}, {num_classes}): correct the targets or num_classes'
    )
  if targets.ndim == 2 and (targets == PADDING).all(1).any():
    row = int((targets == PADDING).all(1).argmax())
    raise ValueError(
      f'{what} of example {row} are all {PADDING}, which is padding: leave out '
      'examples without a target'
    )


def _check_finite(what: str, array: np.ndarray) -> None:
  if isinstance(array, Stored):
    return  # Rows are checked as they are read.
  if array.dtype == np.float32 and not np.isfinite(array).all():
    row = int(np.argwhere(~np.isfinite(array))[0, 0])
    raise ValueError(
      f'{what} of example {row} are not finite: leave it out, or replace nan '
      'and inf'
    )


def _check_clients(what: str, clients: np.ndarray, num_examples: int) -> None:
  """Raises ValueError unless there is a whole number for each example."""
  if not np.issubdtype(clients.dtype, np.integer) or clients.shape != (
    num_examples,
  ):
    raise ValueError(
      f'{what} are {clients.dtype} {clients.shape}, not integers '
      f'({num_examples},): give the number of a client per example (of names, '
      'np.unique(names, return_inverse=True)[1])'
    )


def _check_alike(what: str, train: np.ndarray, test: np.ndarray) -> None:
  """Raises ValueError unless splits are of one type and shape."""
  kinds = [(str(array.dtype), array.shape[1:]) for array in (train, test)]
  if kinds[0] != kinds[1]:
    raise ValueError(
      f'{what} for training are {kinds[0][0]} of shape {kinds[0][1]}, and for '
      f'testing {kinds[1][0]} of shape {kinds[1][1]}: convert, resize or pad '
      'one to match'
    )
