"""Settings for every test; must run before JAX is imported."""

import os
import pathlib
import sys

# Tests are about values, which must not depend on what the machine has.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Helpers that several test folders share.
sys.path.insert(0, str(pathlib.Path(__file__).parent))
