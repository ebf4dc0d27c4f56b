"""Real parties: the rounds of a study between processes, on Flower.

`client` and `server` are plain objects that answer messages; `gathering` is
what asks them, in the place of a simulation's. `node`, `central` and `link` are
how they run as processes, and alone import Flower.
"""

import os

# Read when Flower is imported, which by itself reports what runs.
os.environ.setdefault('FLWR_TELEMETRY_ENABLED', '0')
os.environ.setdefault('FLWR_DISABLE_UPDATE_CHECK', '1')
