"""Settings for every test; must run before JAX is imported."""

import os

# Tests are about values, which must not depend on what the machine has.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
