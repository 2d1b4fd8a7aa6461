"""Unrolled steps to a Graph: names become edges, arguments are checked against the ops' signatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler import registry
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.graph.core import Arg, Graph, Node, TensorType
from assembler.recipe.expand import Step, expand
from assembler.recipe.scope import resolve, scope_of
from assembler.recipe.values import Leaf, Map
from assembler.registry import Entry, checks

BATCH = 2
"""The batch size that shapes are inferred with; a recipe writes `B`."""
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64")


def build(tree: Map, *, name: str = "model") -> Graph:
    """The graph of a model recipe. Raises RecipeError with every problem of the recipe at once, each once."""
    problems: list[Problem] = []
    graph = draft(tree, problems, name=name)
    if problems:
        raise RecipeError(problems)
    return graph


def draft(tree: Map, problems: list[Problem], *, name: str = "model") -> Graph:
    """Like `build`, but adds what is wrong to `problems` and goes on as well as it can."""
    inputs = _inputs(tree, problems)
    steps = expand(tree, problems)
    work = _Builder(inputs, problems)
    last = work.run(steps)
    outputs = work.outputs(tree.get("outputs"), last)
    return Graph(tuple(inputs.items()), work.nodes, outputs, work.names, name)


@dataclass(frozen=True)
class _Names:
    """Step names that a `from` can see: those of this body, then those of the bodies around it."""

    paths: dict[str, str] = field(default_factory=dict)
    outer: _Names | None = None

    def find(self, name: str) -> str | None:
        here: _Names | None = self
        while here is not None:
            if name in here.paths:
                return here.paths[name]
            here = here.outer
        return None

    def all(self) -> list[str]:
        return [*self.paths, *(self.outer.all() if self.outer else [])]


class _Builder:
    def __init__(self, inputs: Mapping[str, TensorType], problems: list[Problem]) -> None:
        self.inputs = inputs
        self.problems = problems
        self.nodes: dict[str, Node] = {}
        self.names: dict[str, str] = {}

    def note(self, message: str, span: Span | None, hint: str = "", path: str = "") -> None:
        problem = Problem(message, span, "" if span else path, hint)
        if problem not in self.problems:
            self.problems.append(problem)

    def run(self, steps: Iterable[Step]) -> str:
        top = {name: name for name in self.inputs}
        first = next(iter(self.inputs), "")
        if len(self.inputs) == 1:
            top["input"] = first
        current = first if len(self.inputs) == 1 else ""
        return self.chain(steps, current, _Names(top))

    def chain(self, steps: Iterable[Step], current: str, names: _Names) -> str:
        """Wire steps one after another; the id of the last one's value."""
        for step in steps:
            current = self.step(step, current, names)
            names.paths[step.path.rsplit(".", 1)[-1]] = step.path
        return current

    def step(self, step: Step, current: str, names: _Names) -> str:
        if step.kind == "op":
            return self.op(step, current, names)
        entry = self.entering(step, current, names)
        if step.kind == "chain":
            inside = _Names({"input": entry[0][1] if entry else current}, names)
            for name, source in entry:
                inside.paths[name] = source
            found = self.chain(step.body, entry[0][1] if entry else current, inside)
            self.names[step.path] = found
            return found
        source = entry[0][1] if entry else current
        if step.kind == "residual":
            arms = [self.chain(step.shortcut, source, _Names({"input": source}, names)) if step.shortcut else source]
            arms.append(self.chain(step.body, source, _Names({"input": source}, names)))
            return self.join(step, "add", (), arms)
        arms = [self.chain([one], source, _Names({"input": source}, names)) for one in step.body]
        return self.join(step, step.merge[0], step.merge[1], arms)

    def entering(self, step: Step, current: str, names: _Names) -> list[tuple[str, str]]:
        """(name, id) of what enters a container."""
        if step.source is None:
            if not current:
                self.note("the first step must say which input it reads", step.span, self.say_inputs())
            return [(step.inputs[0] if step.inputs else "input", current)]
        given = step.source
        if isinstance(given, dict):
            wanted = step.inputs or ("input",)
            for name in given:
                if name not in wanted:
                    hint = near(name, wanted) or f"its inputs are {', '.join(wanted)}"
                    self.note(f"'{step.path}' has no input '{name}'", _span(step, "from"), hint)
            return [(n, self.find(s, step, names)) for n, s in given.items()]
        sources = given if isinstance(given, list) else [given]
        wanted = step.inputs or ("input",)
        if len(sources) > len(wanted):
            what = f"'{step.path}' takes {len(wanted)} input{'s' * (len(wanted) > 1)}, 'from' gives {len(sources)}"
            self.note(what, _span(step, "from"), "join them first, for instance with {op: concat, from: [a, b]}")
        return [(n, self.find(s, step, names)) for n, s in zip(wanted, sources, strict=False)]

    def say_inputs(self) -> str:
        return f"write from: with one of {', '.join(self.inputs)}"

    def find(self, source: Any, step: Step, names: _Names) -> str:
        """The id of the value that a `from` names."""
        span = _span(step, "from")
        if not isinstance(source, str):
            self.note(f"'from' names steps, not {source!r}", span)
            return ""
        head, _, rest = source.partition(".")
        path = names.find(head)
        full = f"{path}.{rest}" if rest else path
        if full is not None and (full in self.nodes or full in self.inputs):
            return full
        if full is not None and full in self.names:
            return self.names[full]
        if source in self.nodes or source in self.names:
            return self.names.get(source, source)
        hint = near(source, [*names.all(), *self.names, *self.nodes])
        if not hint:
            shown = list(dict.fromkeys(names.all()))
            hint = f"steps before this one: {', '.join(shown[:12])}"
        self.note(f"'{step.path}' reads '{source}', which is no step before it", span, hint)
        return ""

    # -- one op ------------------------------------------------------------------------------------------------------

    def op(self, step: Step, current: str, names: _Names) -> str:
        self.nodes[step.path] = Node("identity", (), (("input", current),), step.span)  # so that wiring can go on
        if step.op.startswith("<"):
            return step.path
        entry = self.entry(step)
        if entry is None:
            return step.path
        args = self.args(step, entry, dict(step.args))
        inputs = self.wire(step, entry, current, names)
        if entry.qualname and all(s for _, s in inputs):
            self.nodes[step.path] = Node(entry.name, args, inputs, step.span)
        return step.path

    def join(self, step: Step, op: str, args: tuple[tuple[str, Any], ...], arms: list[str]) -> str:
        entry = self.entry(step, op, "merge")
        if entry is None:
            return arms[-1] if arms else ""
        if not entry.variadic:
            self.note(f"'merge: {op}' does not join any number of inputs", _span(step, "merge"), "use add or concat")
        wired = tuple((str(i), a) for i, a in enumerate(arms))
        self.nodes[step.path] = Node(entry.name, self.args(step, entry, dict(args)), wired, step.span)
        return step.path

    def entry(self, step: Step, op: str = "", key: str = "op") -> Entry | None:
        try:
            return registry.lookup("op", op or step.op)
        except AssemblerError as error:
            for p in error.problems:
                self.note(p.message, _span(step, key), p.hint, step.path)
            return None

    def args(self, step: Step, entry: Entry, given: dict[str, Any]) -> tuple[tuple[str, Arg], ...]:
        for problem in checks.problems(entry, given, lambda n: _span(step, n), span=step.span, path=step.path):
            self.note(problem.message, problem.span, problem.hint, problem.path)
        found: dict[str, Arg] = {}
        for name, value in given.items():
            param = entry.param(name)
            if param is None or not param.type.accepts(value):
                continue
            value = float(value) if param.type.kind == "float" else value
            if value != param.default or type(value) is not type(param.default):
                found[param.name] = _frozen(value)
        return tuple(sorted(found.items()))

    def wire(self, step: Step, entry: Entry, current: str, names: _Names) -> tuple[tuple[str, str], ...]:
        wanted = entry.inputs or ("input",)
        if step.source is None:
            if not current:
                self.note("the first step must say which input it reads", step.span, self.say_inputs())
            found = [("0" if entry.variadic else wanted[0], current)]
        elif isinstance(step.source, dict):
            found = self.named(step, entry, names, wanted)
        else:
            sources = step.source if isinstance(step.source, list) else [step.source]
            ids = [self.find(s, step, names) for s in sources]
            ports = [str(i) for i in range(len(ids))] if entry.variadic else list(wanted)
            if len(ids) > len(ports):
                what = f"op '{entry.name}' takes {len(wanted)} input{'s' * (len(wanted) > 1)}, 'from' gives {len(ids)}"
                self.note(what, _span(step, "from"), "join them first, for instance with {op: concat, from: [a, b]}")
            found = list(zip(ports, ids, strict=False))
        needed = () if entry.variadic else wanted[: len(wanted) - entry.optional]
        missing = [n for n in needed if n not in dict(found)]
        if missing and len(found) < len(needed):
            example = ", ".join(f"{n}: ..." for n in needed)
            said = f"op '{entry.name}' also needs the input{'s' * (len(missing) > 1)} {', '.join(missing)}"
            self.note(said, _span(step, "from") or step.span, f"write from: {{{example}}}")
        return tuple(found)

    def named(self, step: Step, entry: Entry, names: _Names, wanted: tuple[str, ...]) -> list[tuple[str, str]]:
        found = []
        for name, source in step.source.items():
            if name not in wanted and not (entry.variadic and name.isdigit()):
                hint = near(name, wanted) or f"its inputs are {', '.join(wanted)}"
                self.note(f"op '{entry.name}' has no input '{name}'", _span(step, "from"), hint)
            found.append((name, self.find(source, step, names)))
        return sorted(found, key=lambda f: wanted.index(f[0]) if f[0] in wanted else 0)

    def outputs(self, section: Any, last: str) -> tuple[tuple[str, str], ...]:
        if section is None:
            return (("output", last),)
        if isinstance(section, Leaf):
            section = Map((("output", section),), section.span)
        if not isinstance(section, Map) or not len(section):
            self.note("'outputs' must be a mapping of names to steps", section.span, "for instance {logits: head}")
            return (("output", last),)
        names = _Names({n.split(".")[0]: n.split(".")[0] for n in (*self.nodes, *self.names, *self.inputs)})
        found = []
        for name, value in section:
            path = value.value if isinstance(value, Leaf) else None
            step = Step(f"outputs.{name}", "op", span=value.span, spans=(("from", value.span),))
            found.append((name, self.find(path, step, names)))
        return tuple(found)


def _inputs(tree: Map, problems: list[Problem]) -> dict[str, TensorType]:
    section = tree.get("inputs")
    if not isinstance(section, Map) or not len(section):
        span = tree.key_span("inputs") if "inputs" in tree else tree.span
        problems.append(Problem("a model needs 'inputs'", span, hint="for instance inputs: {image: [B, 3, 32, 32]}"))
        return {}
    variables = tree.get("vars")
    scope = scope_of(variables if isinstance(variables, Map) else None)
    found = {}
    for name, value in section:
        try:
            found[name] = _tensor(name, resolve(value, scope))
        except RecipeError as error:
            problems += error.at(value.span).problems
            found[name] = TensorType((BATCH,))
    return found


def _tensor(name: str, said: Any) -> TensorType:
    dtype = "float32"
    if isinstance(said, dict):
        unknown = [k for k in said if k not in ("shape", "dtype")]
        if unknown:
            raise RecipeError(f"input '{name}' takes no '{unknown[0]}'", hint="write {shape: [B, 16], dtype: int64}")
        said, dtype = said.get("shape"), said.get("dtype", "float32")
    if not isinstance(said, list) or not said:
        raise RecipeError(f"input '{name}' needs a shape", hint="for instance [B, 3, 32, 32]")
    if dtype not in DTYPES:
        raise RecipeError(f"unknown dtype '{dtype}'", hint=near(str(dtype), DTYPES) or ", ".join(DTYPES))
    shape = tuple(BATCH if i == 0 and isinstance(d, str) else d for i, d in enumerate(said))
    for axis, size in enumerate(shape):
        if isinstance(size, bool) or not isinstance(size, int):
            hint = "only axis 0, the batch, may be a letter"
            raise RecipeError(f"axis {axis} of input '{name}' must be a whole number, not {size!r}", hint=hint)
        if size < 1:
            raise RecipeError(f"axis {axis} of input '{name}' must be at least 1, not {size}")
    return TensorType(shape, dtype)


def _span(step: Step, key: str) -> Span | None:
    return dict(step.spans).get(key) or step.span


def _frozen(value: Any) -> Arg:
    if isinstance(value, dict):
        return tuple((k, _frozen(v)) for k, v in value.items())
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value
