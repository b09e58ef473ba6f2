import sys
from pathlib import Path

# The model of a stream lives with the property tests, which are no package.
sys.path.append(str(Path(__file__).parents[1] / "property"))
