"""Hours in minutes: a real server under mixed load, stopped and killed again and again, compared with a model."""

import sys
from pathlib import Path

# The model of a stream lives with the property tests, which are no package.
sys.path.append(str(Path(__file__).parents[1] / "property"))
