"""Looks for recipes that crash or hang what reads them: `python -m tests.reference.fuzz --minutes 10`."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parent))

from mutate import GOLDEN, mutant, tree_mutant

from assembler.errors import AssemblerError
from assembler.graph.text import from_text, to_text
from assembler.infer.shape import shapes
from assembler.pipeline.checking.check import check
from assembler.recipe.document import parse
from assembler.recipe.read import read_text
from assembler.recipe.write import format_source
from assembler.wiring.build import build

MOST_SECONDS = 2.0
HANGS = 20
MOST_INFERRED = 40
"""The most steps whose shapes are asked for, and of no loop: how long that takes is up to the recipe's author."""


class _HangError(BaseException):
    """Reading takes so long that it may never end."""


@dataclass
class Findings:
    """How many texts were looked at, how many of them are right, and one text for every place where one crashed."""

    texts: int = 0
    right: int = 0
    slowest: float = 0.0
    bad: dict[str, str] = field(default_factory=dict)


def look(text: str, found: Findings) -> None:
    """Lint, format and build a text as a user would; what is no plain refusal is noted."""
    found.texts += 1
    for step in (_lint, _format, _build):
        start = time.process_time()
        try:
            with _alarm(HANGS):
                step(text)
            found.right += step is _build
        except AssemblerError as error:
            if not error.problems or not str(error).strip():
                found.bad.setdefault(f"{step.__name__}: an error that says nothing", text)
        except (Exception, _HangError):
            where = traceback.format_exc().strip().splitlines()
            found.bad.setdefault(f"{step.__name__}: " + "\n".join(where[-5:]), text)
        spent = time.process_time() - start
        found.slowest = max(found.slowest, spent)
        if spent > MOST_SECONDS:
            found.bad.setdefault(f"{step.__name__}: takes {spent:.1f} s", text)


def _lint(text: str) -> None:
    for problem in check(parse(text, "fuzz.yaml", strict=False)):
        assert problem.message and problem.render()


def _format(text: str) -> None:
    once = format_source(text, "fuzz.yaml")
    assert format_source(once, "fuzz.yaml") == once
    assert read_text(once, "fuzz.yaml") == read_text(text, "fuzz.yaml")


def _build(text: str) -> None:
    document = parse(text, "fuzz.yaml")
    graph = build(document.default)
    assert graph.fingerprint
    assert from_text(to_text(graph)) == graph
    if len(graph) < MOST_INFERRED and all(node.body is None for node in graph.nodes.values()):
        shapes(graph)


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _HangError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of CPU time: other work on the machine makes nothing hang
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def fuzz(seconds: float, seed: int, most: int = 10**9) -> Findings:
    """Look at mutants for so many CPU seconds, `most` of them at most."""
    chance, found, start = random.Random(seed), Findings(), time.process_time()
    with chdir(GOLDEN):  # beside the recipes that the mistakes are about
        while time.process_time() - start < seconds and found.texts < most:
            look(chance.choice([mutant, tree_mutant])(chance), found)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    found = fuzz(60 * given.minutes, given.seed)
    for where, text in found.bad.items():
        print(f"{'=' * 80}\n{where}\n{'-' * 80}\n{text}")
    counts = f"{found.texts} texts, {found.right} of them right, {len(found.bad)} found"
    print(f"seed {given.seed}: {counts}; the slowest look took {found.slowest:.2f} s")
    return bool(found.bad)


if __name__ == "__main__":
    sys.exit(main())
