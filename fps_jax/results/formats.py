"""Numbers as text: how tables, pages and figures show them.

>>> format_bytes(3_900_000)
'3.90 MB'
"""

from collections.abc import Callable

from fps_jax.results.spread import Spread


def format_bytes(num_bytes: float) -> str:
  """Formats bytes with three digits and decimal units (1 kB = 1000 B)."""
  value, unit = num_bytes, 'B'
  for larger in ('kB', 'MB', 'GB', 'TB'):
    # 999.5 would print as 1000, which belongs to the next unit.
    if value < 999.5:
      break
    value, unit = value / 1000, larger
  if unit == 'B':
    return f'{value:.0f} B'
  # The same bound below 100 and 10 keeps the digits at three.
  decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
  return f'{value:.{decimals}f} {unit}'


def format_percent(fraction: float) -> str:
  """Formats a fraction in percent, without the sign.

  >>> format_percent(0.975)
  '97.5'
  """
  return f'{100 * fraction:.1f}'


def format_accuracy(fraction: float) -> str:
  """Formats an accuracy in percent, without the sign.

  >>> format_accuracy(0.975)
  '97.50'
  """
  return f'{100 * fraction:.2f}'


def format_loss(loss: float) -> str:
  """Formats a loss with four digits.

  >>> format_loss(0.0123456)
  '0.01235'
  """
  return f'{loss:.4g}'


def show_tested(accuracy: float | None, loss: float | None) -> str:
  """Returns an accuracy in percent, or the loss where there is none.

  >>> show_tested(0.975, 0.1), show_tested(None, 0.1), show_tested(None, None)
  ('97.50', 'loss 0.1', '-')
  """
  if accuracy is None and loss is not None:
    return f'loss {format_loss(loss)}'
  return show(format_accuracy, accuracy)


def show(form: Callable[[float], str], number: float | None) -> str:
  """Returns a number in some form; '-' where there is none."""
  return '-' if number is None else form(number)


def format_points(difference: float) -> str:
  """Formats a difference of fractions in percentage points, with its sign.

  >>> format_points(-0.0123)
  '-1.23'
  """
  return f'{100 * difference:+.2f}'


def show_range(form: Callable[[float], str], spread: Spread | None) -> str:
  """Returns `middle±margin`, or without a margin `middle [least, most]`.

  >>> show_range(format_accuracy, Spread(0.975, 0.97, 0.98, 0.004))
  '97.50±0.40'
  >>> show_range(format_accuracy, Spread(0.975, 0.97, 0.98))
  '97.50 [97.00, 98.00]'
  >>> show_range(format_accuracy, Spread(0.975, 0.975, 0.975))
  '97.50'
  >>> show_range(format_accuracy, None)
  '-'
  """
  if spread is None:
    return '-'
  middle, least, most = map(form, spread[:3])
  if spread.margin is not None:
    return f'{middle}±{form(spread.margin).removeprefix("+")}'
  if spread.least == spread.most:
    return middle
  return f'{middle} [{least}, {most}]'
