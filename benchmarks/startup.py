"""`assembler lint` against the bare import of the libraries that any such command line needs."""

from __future__ import annotations

import compileall
import statistics
import sys
from pathlib import Path

from assembler import resources
from benchmarks.measure import Figure, command, ratios, spread

GOAL = 1.5
PEER = 'python -c "import yaml, rich, typer, pydantic"'


def figures(quick: bool) -> list[Figure]:
    """Wall time of linting a shipped run and a shipped model, over the imports."""
    compileall.compile_dir(resources.PACKAGE, quiet=1)  # as an installation does
    peer = command([sys.executable, "-c", "import yaml, rich, typer, pydantic"])
    assembler = str(Path(sys.executable).parent / "assembler")
    found = []
    for recipe in ("quickstart", "vit_ti"):
        ours = command([assembler, "lint", recipe])
        ours(), peer()
        values = ratios(ours, peer, 9 if quick else 31)
        value = statistics.median(values)
        found.append(Figure(f"lint {recipe} / imports", value, f"<= {GOAL}", value <= GOAL, PEER, spread(values)))
    return found
