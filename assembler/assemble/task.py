"""A task: a frozen value that says which function makes a product, from which parameters and which other products.

Its key is a hash of everything that the product depends on, so equal tasks collapse and finished ones can be read.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from assembler.errors import TaskError, near
from assembler.registry.entry import digest

_NAME = re.compile(r'"graph \\".*?\\" \(')
"""How the text of a graph begins, as a string in JSON."""


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """One product to make. Build it with `task`.

    `run` is "package.module:function"; `inputs` the canonical JSON of its parameters; `needs` the tasks whose products
    it reads, by name; `code` a digest of the source it depends on. `label` and `phase` are for people only: two tasks
    that differ in nothing else are equal and have the same `key` (40 hex digits). One that is not `kept` is done
    whenever it is asked for, and its result is handed over without a product in the store. `beside` is plain data that
    the function may read and the product does not depend on: when it is to be given up, say.
    """

    run: str
    inputs: str = "{}"
    needs: tuple[tuple[str, Task], ...] = ()
    code: str = ""
    label: str = ""
    phase: str = ""
    kept: bool = True
    beside: Mapping[str, Any] = field(default_factory=dict)
    key: str = field(init=False)

    def __post_init__(self) -> None:
        # The needs bear their keys already, so a deep or widely shared graph costs one hash a task.
        needs = {name: need.key for name, need in self.needs}
        object.__setattr__(self, "key", key_of(self.run, self.inputs, self.code, needs))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Task({self.name!r}, key={self.key[:8]})"

    @property
    def name(self) -> str:
        """What people read: the label, or the function's name where there is none."""
        return self.label or self.run.partition(":")[2]

    @property
    def parameters(self) -> dict[str, Any]:
        """The inputs as the function gets them: a new dict of plain data."""
        parameters: dict[str, Any] = json.loads(self.inputs)
        return parameters

    @property
    def seed(self) -> int | None:
        """The parameter `seed`, for logs; it is part of the inputs and so of the key."""
        seed = self.parameters.get("seed")
        return seed if isinstance(seed, int) else None


def key_of(run: str, inputs: str, code: str, needs: Mapping[str, str]) -> str:
    """The key of what `run` makes of `inputs` (canonical JSON), with code of that digest and those `needs`.

    The names of graphs among the inputs are for people: a recipe that is called otherwise makes the same.
    """
    parts = [run, _NAME.sub('"graph (', inputs), code, [[name, key] for name, key in needs.items()]]
    return hashlib.blake2b(canonical(parts).encode(), digest_size=20).hexdigest()


def task(
    run: str,
    inputs: Mapping[str, Any] | None = None,
    needs: Mapping[str, Task] | None = None,
    *,
    label: str = "",
    phase: str = "",
    code: Iterable[str] = (),
    kept: bool = True,
) -> Task:
    """The task that calls `run` ("package.module:function") with `inputs` (plain data) and the products of `needs`.

    `code` adds digests of other source that the product depends on: an op's `Entry.code`, `module_code(...)`.
    Raises TaskError where the function does not exist or an input is not plain data. Nothing is imported.
    """
    digests = [function_code(run), *sorted(code)]
    edges = tuple(sorted((needs or {}).items()))
    return Task(run, canonical(dict(inputs or {}), "inputs"), edges, digest("\n".join(digests)), label, phase, kept)


def closure(tasks: Iterable[Task], enter: Callable[[Task], bool] = lambda task: True) -> list[Task]:
    """The tasks and everything they need, each once, needs before users, in an order that only the graph decides.

    `enter` is asked once a task whether its needs are wanted too.
    """
    order: dict[Task, None] = {}
    stack = [(task, False) for task in reversed(list(tasks))]
    while stack:
        task, expanded = stack.pop()
        if task in order:
            continue
        if expanded:
            order[task] = None
            continue
        stack.append((task, True))
        if enter(task):
            stack.extend((need, False) for _, need in reversed(task.needs))
    return list(order)


def canonical(value: Any, where: str = "value") -> str:
    """The one JSON text of plain data: sorted keys, no blanks, finite numbers; tuples are lists."""
    _require_plain(value, where)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _require_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise TaskError(f"{where} has the key {name!r}: keys must be text")
            _require_plain(item, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _require_plain(item, f"{where}.{number}")
    elif isinstance(value, float):
        if not float("-inf") < value < float("inf"):
            raise TaskError(f"{where} is {value}: numbers must be finite")
    elif not (value is None or isinstance(value, str | bool | int)):
        kind = type(value).__name__
        raise TaskError(f"{where} is of type {kind}, which is not plain data", hint="give numbers, text, lists, dicts")


def module_code(module: str) -> str:
    """A digest of a module's source text, read without importing it."""
    path = _source(module)
    return digest(_text(path, path.stat().st_mtime_ns))


def function_code(run: str) -> str:
    """A digest of the source of the module that holds "package.module:function".

    Raises TaskError where there is no such module or top-level function.
    """
    module, _, name = run.partition(":")
    if not re.fullmatch(r"\w+(\.\w+)*:\w+", run):
        raise TaskError(f"a task runs 'package.module:function', not '{run}'")
    path = _source(module)
    text = _text(path, path.stat().st_mtime_ns)
    functions = re.findall(r"^def (\w+)", text, re.MULTILINE)
    if name not in functions:
        raise TaskError(f"module {module} has no function '{name}'", hint=near(name, functions))
    return digest(text)


@functools.cache
def _text(path: Path, modified: int) -> str:
    del modified  # an edited file is read anew
    return path.read_text(encoding="utf-8")


@functools.cache
def _source(module: str) -> Path:
    """The file of a module. Only finders are asked: `importlib.util.find_spec` would import the parent packages."""
    package, *parts = module.split(".")
    spec = importlib.util.find_spec(package)
    for part in parts:
        if spec is not None:
            spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations or [])
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise TaskError(f"there is no Python module '{module}' to run")
    return Path(spec.origin)
