"""The tree of a class's sub-modules, as the lines of `__init__`."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from assembler.compile.source.forms import Made
from assembler.compile.source.lines import WIDTH, broken

Tree = dict[str, "Tree | Made"]


def plant(tree: Tree, path: str, made: Made) -> None:
    """Put a constructor call at a path; what stands at "" is a module that has the others as its sub-modules."""
    *parents, name = path.split(".")
    for part in parents:
        inner = tree.setdefault(part, {})
        if isinstance(inner, Made):  # a step that joins its container's arms, standing before one of them
            inner = tree[part] = {"": inner}
        tree = inner
    held = tree.get(name)
    tree[name] = {"": made, **held} if isinstance(held, dict) else made


def copies(tree: Tree | Made | None) -> int:
    """The number of entries of what becomes a ModuleList, 0 for all else."""
    if not isinstance(tree, dict) or list(tree) != [str(n) for n in range(len(tree))]:
        return 0
    return len(tree)


def find(tree: Tree, path: str) -> Tree | Made | None:
    """What is planted at a path."""
    here: Tree | Made | None = tree
    for part in path.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here


def attributes(tree: Tree) -> list[str]:
    """The statements that make the sub-modules."""
    lines = []
    for name, inner in tree.items():
        plain = name.isidentifier() and not keyword.iskeyword(name)
        head = f"        self.{name} = " if plain else f'        self.add_module("{name}", '
        lines += _ended(_entry(inner, head), "" if plain else ")")
    return lines


def _entry(tree: Tree | Made, head: str) -> list[str]:
    """A sub-module behind `head`, on one line or more."""
    if isinstance(tree, Made):
        return _call(tree, head)
    if copies(tree):
        return _list(list(tree.values()), head)
    indent = _indent(head)
    own = tree.get("")
    if own is None and len(tree) == 1:
        [(name, only)] = tree.items()
        inside = _entry(only, f'{head}Steps({{"{name}": ')
        if len(inside) == 1 and len(inside[0]) + 3 <= WIDTH:
            return _ended(inside, "})")
    lines = _ended(_entry(own, f"{head}Steps.of("), ", {") if own is not None else [f"{head}Steps({{"]
    for name, inner in tree.items():
        if name:
            lines += _ended(_entry(inner, f'{indent}    "{name}": '), ",")
    return [*lines, f"{indent}}})"]


def _call(made: Made, head: str, tail: str = "") -> list[str]:
    """A call on one line, or with an argument on each where it is too long."""
    whole = f"{head}{made}{tail}"
    if len(whole) <= WIDTH or not made.keywords:
        return [whole]
    indent = _indent(head)
    inner = [line for k, v in made.keywords for line in broken(f"{k}={v},", f"{indent}    ")]
    return [f"{head}{made.callee}(", *inner, f"{indent}){tail}"]


def _list(entries: Sequence[Tree | Made], head: str) -> list[str]:
    indent = _indent(head)
    calls = [e for e in entries if isinstance(e, Made)]
    keys = {(e.callee, tuple(k for k, _ in e.keywords)) for e in calls}
    if len(calls) == len(entries) > 1 and len(keys) == 1 and not _shadowed(calls):
        return _comprehension(calls, f"{head}nn.ModuleList(", indent)
    texts = [_entry(e, f"{indent}    ") for e in entries]
    if len(entries) > 1 and all(t == texts[0] for t in texts):
        return [f"{head}nn.ModuleList(", *texts[0], f"{indent}    for _ in range({len(entries)})", f"{indent})"]
    if len(entries) == 1:
        whole = _ended(_entry(entries[0], f"{head}nn.ModuleList(["), "])")
        if len(whole) > 1 or len(whole[0]) <= WIDTH:
            return whole
    inner = [line for e in entries for line in _ended(_entry(e, f"{indent}    "), ",")]
    return [f"{head}nn.ModuleList([", *inner, f"{indent}])"]


def _varying(calls: Sequence[Made]) -> list[str]:
    return [k for n, (k, _) in enumerate(calls[0].keywords) if len({c.keywords[n] for c in calls}) > 1]


def _shadowed(calls: Sequence[Made]) -> bool:
    """Whether an argument that is the same for all says the name of one that is not."""
    varying = _varying(calls)
    return any(set(re.findall(r"\w+", v)) & set(varying) for k, v in calls[0].keywords if k not in varying)


def _comprehension(calls: Sequence[Made], head: str, indent: str) -> list[str]:
    """Copies of one class, that differ in some of their arguments or in none."""
    varying = _varying(calls)
    same = Made(calls[0].callee, tuple((k, k if k in varying else v) for k, v in calls[0].keywords))
    if not varying:
        return _fitted(same, [f"for _ in range({len(calls)})"], head, indent)
    rows = [[v for k, v in c.keywords if k in varying] for c in calls]
    items = [f"({', '.join(row)})" if len(varying) > 1 else row[0] for row in rows]
    over = f"for {', '.join(varying)} in [{', '.join(items)}]"
    if len(indent) + 4 + len(over) <= WIDTH:
        return _fitted(same, [over], head, indent)
    lines, row = [f"for {', '.join(varying)} in ["], f"{indent}        "
    for item in items:
        if len(row) + len(item) + 2 > WIDTH:
            lines.append(row.rstrip())
            row = f"{indent}        "
        row += f"{item}, "
    return _fitted(same, [*lines, row.rstrip(), f"{indent}    ]"], head, indent)


def _fitted(same: Made, over: list[str], head: str, indent: str) -> list[str]:
    whole = f"{head}{same} {over[0]})"
    if len(over) == 1 and len(whole) <= WIDTH:
        return [whole]
    return [head, *_call(same, f"{indent}    "), f"{indent}    {over[0]}", *over[1:], f"{indent})"]


def _ended(lines: list[str], end: str) -> list[str]:
    return [*lines[:-1], f"{lines[-1]}{end}"]


def _indent(head: str) -> str:
    return head[: len(head) - len(head.lstrip())]
