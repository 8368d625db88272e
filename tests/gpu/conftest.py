"""Makes what lies beside these tests importable, and the benches."""

import sys
from pathlib import Path

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("gpu", "bench"))
