"""What the tests of objectives have: terms of their own files, two processes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "distill"))
