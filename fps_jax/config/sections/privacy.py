"""The section `privacy`: differential privacy of one client."""

import functools
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from fps_jax.config import distributed
from fps_jax.config.checks import (
  above_zero,
  at_least_zero,
  boolean,
  choice,
  whole,
  within,
)
from fps_jax.config.section import Field, Section, collect
from fps_jax.config.sections.pruning import has_own_masks, mask_of
from fps_jax.config.sections.sharing import (
  clients_add_noise,
  is_shared,
  make_codec,
  scheme_of,
)
from fps_jax.core import extras
from fps_jax.core.types import PruningPlan
from fps_jax.privacy import accounting
from fps_jax.privacy.accounting import RELATIONS, Event, Ledger
from fps_jax.privacy.central import Adaptation, CentralPrivacy
from fps_jax.privacy.distributed import Privacy

MODES = ('none', 'central', 'distributed')
# So much of a bound is rounded away, and in proportion so much noise is added.
_LEAST_CLIP = 1e-6
# Of a step, what dividing by it in float32 adds to how far a value is moved.
_ROUNDING = 1 + 2**-8


def is_private(config: ConfigDict) -> bool:
  """Returns whether anything is promised to clients."""
  return config.privacy.mode != 'none'


def _package(config: ConfigDict) -> Iterator[str]:
  if is_private(config):
    mode = f'privacy.mode={config.privacy.mode!r}'
    yield from collect(
      'privacy', lambda: extras.require('dp_accounting', 'privacy', mode)
    )


def _noise(config: ConfigDict) -> Iterator[str]:
  privacy = config.privacy
  if is_private(config) and bool(privacy.epsilon) == bool(
    privacy.noise_multiplier
  ):
    yield (
      f'privacy.epsilon={privacy.epsilon} and privacy.noise_multiplier='
      f'{privacy.noise_multiplier}: set one of them above 0, and the other to '
      '0, as it follows'
    )


def _adaptation(config: ConfigDict) -> Iterator[str]:
  # In another mode, or with epsilon, that is seen when the run is built.
  noise = config.privacy.noise_multiplier
  if config.privacy.mode == 'central' and noise:
    yield from collect('privacy', lambda: _leave_for_values(config, noise))


def _openings(config: ConfigDict) -> Iterator[str]:
  """What else would be opened of clients, which nothing counts."""
  if not is_private(config):
    return
  mode = f'privacy.mode={config.privacy.mode!r}'
  weighting, defence = config.cohort.weighting, config.defence.name
  if weighting != 'clients':
    yield (
      f'cohort.weighting={weighting!r} with {mode}: the sum of sample counts '
      "is opened without noise, and a client's own decides how much it "
      "changes the model; use 'clients'"
    )
  if defence != 'none':
    yield (
      f'defence.name={defence!r} with {mode}: what a defence looks at is '
      "opened of every client, and nothing counts it; use 'none', as the clip "
      'bounds what a client does'
    )
  if is_shared(config) and config.sharing.reveal == 'updates':
    yield (
      f"sharing.reveal='updates' with {mode}: every update would be opened as "
      "it is, without noise; use 'sum'"
    )
  if config.faults.on_failed_round == 'retry':
    yield (
      f"faults.on_failed_round='retry' with {mode}: another attempt opens a "
      "sum of other clients, and only one a round is counted; use 'stop' or "
      "'skip'"
    )
  if every := config.eval.by_client_every_rounds:
    yield (
      f'eval.by_client_every_rounds={every} with {mode}: accuracies of single '
      'clients tell of their examples, and nothing counts them; set it to 0'
    )
  if config.profiles.distribution != 'none':
    yield (
      f'profiles.distribution={config.profiles.distribution!r} with {mode}: '
      'how long a round takes, and who is in time, tells how many examples '
      "clients have, and nothing counts it; use 'none'"
    )


def _contributions(config: ConfigDict) -> Iterator[str]:
  """What cannot be bounded, or has no noise."""
  if not is_private(config):
    return
  mode, pruning = f'privacy.mode={config.privacy.mode!r}', config.pruning
  if has_own_masks(config):
    yield (
      f'pruning.mask={pruning.mask!r} with {mode}: which positions a client '
      "chooses tells of its examples, and has no noise; use 'shared'"
    )
  elif mask_of(config) and len(pruning.tiers) > 1:
    yield (
      f'pruning.tiers={pruning.tiers} with {mode}: each tier is divided by the '
      'clients that are in it, not by a fixed number; use (1.0,)'
    )
  if config.attack.updates != 'none':
    yield (
      f'attack.updates={config.attack.updates!r} with {mode}: it replaces '
      "updates after they are clipped, which is not simulated; use 'none', or "
      'an attack on data'
    )
  if config.job == 'inversion':
    yield (
      f"job='inversion' with {mode}: it looks at updates before any noise; "
      "set mode='none'"
    )


def _noise_of_clients(config: ConfigDict) -> Iterator[str]:
  """What noise that clients add has no use for, or cannot do without."""
  privacy, size = config.privacy, config.cohort.size
  if not clients_add_noise(config):
    return
  if not is_shared(config):
    yield (
      f"privacy.mode='distributed' with sharing.scheme="
      f'{config.sharing.scheme!r}: the central server would see each update '
      "with the noise of one client; use 'shamir' or 'ideal'"
    )
  if privacy.min_honest > size:
    yield (
      f'privacy.min_honest={privacy.min_honest} must be at most cohort.size='
      f'{size}: no sum would ever be opened'
    )


SECTION = Section(
  'privacy',
  {
    'mode': Field(
      'none',
      choice(MODES),
      'or central: clients clip what they send, and the central server adds '
      'noise to the sum; distributed: clients add it to what they share; '
      'docs/threat_model.md says who is protected from whom',
    ),
    'epsilon': Field(
      0.0,
      at_least_zero,
      'of the whole run, from which the noise follows; 0: as it follows from '
      'noise_multiplier',
    ),
    'delta': Field(1e-5, within(0, 1, '()'), 'below 1 / data.num_clients'),
    'noise_multiplier': Field(
      0.0,
      at_least_zero,
      'standard deviation of the noise of a sum, over the clip; 0: as it '
      'follows from epsilon',
    ),
    'neighbours': Field(
      'replace_one',
      choice(RELATIONS),
      "data sets that are to look alike: one client's examples are others, "
      'with the draw of cohorts counted; or zero_out: it contributes nothing, '
      'which half of the noise hides, and no draw is counted',
    ),
    'clip': Field(
      1.0,
      within(_LEAST_CLIP, 1e12),
      "L2 norm of a client's kept values at most; not sharing.clip, which is "
      'of single values',
    ),
    'clip_quantile': Field(
      0.0,
      within(0, 1, '[)'),
      'the part of clients whose updates the clip is to leave as they are, '
      'which it follows from round to round; 0: it stays',
    ),
    'clip_learning_rate': Field(
      0.2, above_zero, "of the clip's logarithm, where it follows"
    ),
    'min_honest': Field(
      0,
      whole(0),
      "clients whose noise is enough, in mode='distributed': a sum of fewer is "
      'not opened; 0: cohort.size',
    ),
    'rotate': Field(
      False,
      boolean,
      'a random rotation of values, which saves bits of a word there',
    ),
    'wrap_probability': Field(
      2.0**-40,
      within(0, 1, '()'),
      'of any word there that leaves the field in the whole run, at most; the '
      'steps that values are rounded to follow from it',
    ),
    'count_deviation': Field(
      0.0,
      at_least_zero,
      'of the noise of how many clients are within the clip; 0: a twentieth '
      'of cohort.size',
    ),
  },
  (
    _package,
    _noise,
    _adaptation,
    _openings,
    _contributions,
    _noise_of_clients,
  ),
)


def make_ledger(
  config: ConfigDict, plans: Sequence[PruningPlan]
) -> Ledger | None:
  """Returns what rounds of a run spend; None where nothing is promised.

  Args:
    config: the config of one variant, valid.
    plans: how many parameters each round keeps.

  Raises:
    ValueError: if no noise is enough for the epsilon.
  """
  if not is_private(config):
    return None
  if clients_add_noise(config):
    return distributed.make_ledger(config, plans)
  privacy, noise = config.privacy, _noise_multiplier(config)
  return Ledger(_event(config)(noise), privacy.neighbours, privacy.delta, noise)


def make_privacy(
  config: ConfigDict, plans: Sequence[PruningPlan]
) -> Privacy | None:
  """Returns the noise of sums; None where nobody adds any.

  Args:
    config: the config of one variant, valid.
    plans: how many parameters each round keeps.

  Raises:
    ValueError: if no noise is enough for the epsilon, a clip that follows
      leaves none for values, or the field has too few bits.
  """
  if not is_private(config):
    return None
  if clients_add_noise(config):
    return distributed.make_privacy(config, plans, _make_adaptation(config))
  noise, adaptation = _leave_for_values(config, _noise_multiplier(config))
  rounding = 0.0
  if scheme_of(config).has_codec:
    rounding = _ROUNDING * make_codec(config, max_count=1).step
  return CentralPrivacy(noise, config.cohort.size, rounding, adaptation)


def _leave_for_values(
  config: ConfigDict, noise: float
) -> tuple[float, Adaptation | None]:
  """Returns the noise multiplier of values, and how the clip follows norms.

  Args:
    config: the config of one variant.
    noise: the noise multiplier of all that a round opens.

  Raises:
    ValueError: if counting norms leaves nothing, or counts are not exact.
  """
  adaptation = _make_adaptation(config)
  if adaptation is None:
    return noise, None
  noise = adaptation.noise_of_values(noise)
  # Whose errors are of the counts.
  CentralPrivacy(noise, config.cohort.size, adaptation=adaptation)
  return noise, adaptation


def _make_adaptation(config: ConfigDict) -> Adaptation | None:
  """Returns how the clip follows norms; None where it stays."""
  privacy = config.privacy
  if not privacy.clip_quantile:
    return None
  return Adaptation(
    privacy.clip_quantile,
    privacy.clip_learning_rate,
    privacy.count_deviation or config.cohort.size / 20,
  )


def _noise_multiplier(config: ConfigDict) -> float:
  privacy = config.privacy
  return privacy.noise_multiplier or _calibrated(
    privacy.neighbours,
    config.cohort.size,
    config.data.num_clients,
    privacy.epsilon,
    privacy.delta,
    config.num_rounds,
  )


# Every run of a study asks, and seconds pass where cohorts are drawn.
@functools.cache
def _calibrated(
  neighbours: str,
  cohort_size: int,
  num_clients: int,
  epsilon: float,
  delta: float,
  num_rounds: int,
) -> float:
  return accounting.calibrate(
    lambda noise: accounting.gaussian_event(
      noise, neighbours, cohort_size, num_clients
    ),
    neighbours,
    epsilon,
    delta,
    num_rounds,
  )


def _event(config: ConfigDict) -> Event:
  """Returns noise multiplier -> event of a round."""
  return lambda noise: accounting.gaussian_event(
    noise,
    config.privacy.neighbours,
    config.cohort.size,
    config.data.num_clients,
  )
