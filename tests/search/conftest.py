"""Makes `search_spaces` and `sampler_contract` importable beside the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
