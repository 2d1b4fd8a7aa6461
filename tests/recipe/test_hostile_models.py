"""Models that unroll, nest or refer without end: a clear error within two seconds, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from assembler.errors import RecipeError
from assembler.recipe.document import parse
from assembler.wiring.build import build
from assembler.wiring.lint import lint

HEAD = "inputs: {x: [B, 4]}\n"


def nest(depth: int) -> str:
    """Blocks that each hold the next one twice, 2 ** depth steps in all."""
    blocks = "".join(f"  b{i}: {{body: {{l: b{i + 1}, r: b{i + 1}}}}}\n" for i in range(depth))
    return f"{HEAD}blocks:\n{blocks}  b{depth}: {{body: {{a: relu}}}}\ngraph: {{a: b0}}\n"


def chain(depth: int) -> str:
    """Blocks that each hold the next one below seven more bodies."""
    down, up = "".join(f"{{body: {{s{k}: " for k in range(7)), "}}" * 7
    blocks = "".join(f"  b{i}: {{body: {{n: {down}b{i + 1}{up}}}}}\n" for i in range(depth))
    return f"{HEAD}blocks:\n{blocks}  b{depth}: {{body: {{a: relu}}}}\ngraph: {{a: b0}}\n"


MANY = "more than 30,000 steps"
HOSTILE = {
    "a million copies": (f"{HEAD}graph: {{a: {{op: relu, repeat: 1000000}}}}\n", "unrolls to more than 30,000 steps"),
    "more copies than fit": (f"{HEAD}graph: {{a: {{op: relu, repeat: 9223372036854775807}}}}\n", MANY),
    "copies of copies": (
        f"{HEAD}graph: {{a: {{repeat: 1000, body: {{b: {{repeat: 1000, body: {{c: relu}}}}}}}}}}\n",
        "unrolls to more than 30,000 steps",
    ),
    "copies of many steps": (
        f"{HEAD}graph: {{a: {{repeat: 9000, body: {{{', '.join(f's{i}: relu' for i in range(99))}}}}}}}\n",
        "unrolls to more than 30,000 steps",
    ),
    "a huge list": (f"{HEAD}graph: {{a: {{for: {{w: [{'1,' * 79_999}1]}}, body: {{b: relu}}}}}}\n", MANY),
    "a list from an expression": (
        f'{HEAD}graph: {{a: {{for: {{w: "=range(10**9)"}}, body: {{b: relu}}}}}}\n',
        "the result is too big",
    ),
    "blocks in blocks": (nest(60), "unrolls to more than 30,000 steps"),
    "deep blocks": (chain(40), "steps are nested more than 64 deep"),
    "a block in itself": (
        f"{HEAD}blocks: {{b: {{body: {{l: b, r: b}}}}}}\ngraph: {{a: b}}\n",
        "holds itself without end",
    ),
    "a block in its own loop": (
        f"{HEAD}blocks: {{b: {{body: {{l: {{op: b, repeat: 30}}}}}}}}\ngraph: {{a: b}}\n",
        "holds itself without end",
    ),
    "a power in a var": (f"{HEAD}vars: {{a: =9**9**9}}\ngraph: {{a: {{op: linear, out: =a}}}}\n", "64 bits"),
    "vars that double": (
        f"{HEAD}vars:\n  v0: [1]\n" + "".join(f"  v{i}: =v{i - 1} + v{i - 1}\n" for i in range(1, 60))
        + "graph: {a: {op: linear, out: =v59}}\n",
        "more than 10,000 elements",
    ),
    "a long chain of vars": (
        f"{HEAD}vars:\n" + "".join(f"  v{i}: =v{i + 1}\n" for i in range(5000))
        + "  v5000: 1\ngraph: {a: {op: linear, out: =v0}}\n",
        "depend on each other too deeply",
    ),
    "an empty axis": ("inputs: {x: [B, 0]}\ngraph: {a: relu}\n", "must be at least 1, not 0"),
    "a negative axis": ("inputs: {x: [B, -1]}\ngraph: {a: relu}\n", "must be at least 1, not -1"),
    "a thousand mistakes": (
        f"{HEAD}graph:\n" + "".join(f"  s{i}: {{op: nothing{'x' * (i % 90)}, from: none}}\n" for i in range(1000)),
        "there are more problems than these",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_refused_soon(name: str) -> None:
    text, message = HOSTILE[name]
    for look in (lambda d: build(d.model), lambda d: _raise(lint(d))):
        start = time.process_time()
        with pytest.raises(RecipeError) as caught:
            look(parse(text, "m.yaml", strict=False))
        assert time.process_time() - start < 2
        assert message in str(caught.value)
        assert len(caught.value.problems) <= 101
        assert len(str(caught.value)) < 250_000


def _raise(problems: list[object]) -> None:
    raise RecipeError(problems)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["copies of copies", "blocks in blocks"])
def test_a_hostile_model_takes_little_memory(name: str, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(HOSTILE[name][0])
    code = (
        "import re, sys\n"
        "from assembler.wiring.lint import lint\nfrom assembler.recipe.document import load\n"
        "try: found = lint(load(sys.argv[1], strict=False))\n"
        "except Exception as error: found = [type(error).__name__]\n"
        "print(len(found), int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=30)
    count, megabytes = map(int, done.stdout.split())
    assert count == 1
    assert megabytes < 300
