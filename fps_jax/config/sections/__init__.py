"""Sections of a config, a file each: its fields, bounds, rules and builders.

A new field is a line of `fields` in the file of its section: its default, what
it may be, what it is. Defaults, checks, overrides and hints read it there; the
builder in the same file hands it on to what uses it.
"""

from typing import Any

from fps_jax.config.section import Field, Section
from fps_jax.config.sections import (
  attack,
  client,
  cohort,
  data,
  defence,
  faults,
  model,
  privacy,
  pruning,
  running,
  server,
  sharing,
  simulated_time,
  study,
)

SECTIONS: dict[str, Section] = {
  section.name: section
  for section in (
    study.SECTION,
    data.SECTION,
    model.SECTION,
    client.SECTION,
    cohort.SECTION,
    server.SECTION,
    pruning.SECTION,
    simulated_time.SECTION,
    sharing.SECTION,
    privacy.SECTION,
    faults.SECTION,
    attack.SECTION,
    defence.SECTION,
    *running.SECTIONS,
  )
}
# A file names its variants, and may add arguments of what it registers.
OPEN_SECTIONS = (
  'variants',
  *(
    section.path(name)
    for section in SECTIONS.values()
    for name in section.registries
  ),
)
# Those that a job has besides, which its module adds as it is imported.
JOB_SECTIONS: dict[str, Section] = {}


def sections_of(job: Any) -> list[Section]:
  """Returns the sections that a job's config has."""
  own = JOB_SECTIONS.get(str(job))
  return [*SECTIONS.values(), *([own] if own else [])]


def fields_of(job: Any) -> dict[str, Field]:
  """Returns every field of a job's config by its dotted name."""
  return {
    section.path(name): field
    for section in sections_of(job)
    for name, field in section.fields.items()
  }
