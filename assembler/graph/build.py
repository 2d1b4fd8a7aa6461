"""Unrolled steps to a Graph: names become edges, arguments are checked against the ops' signatures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler import registry
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.graph.core import Arg, Graph, Node, TensorType
from assembler.graph.reserved import RESERVED_STEPS
from assembler.recipe.expand import expand
from assembler.recipe.notes import in_order, note, note_all
from assembler.recipe.scope import resolve, scope_of
from assembler.recipe.steps import BAD_OP, Step
from assembler.recipe.values import Leaf, Map, Seq, Value
from assembler.registry import Entry, checks

BATCH = 2
"""The batch size that shapes are inferred with; a recipe writes `B`."""
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64")


def build(tree: Map, *, name: str = "model") -> Graph:
    """The graph of a model recipe. Raises RecipeError with every problem of the recipe at once, each once."""
    problems: list[Problem] = []
    graph = draft(tree, problems, name=name)
    if problems:
        raise RecipeError(in_order(problems))
    return graph


def draft(tree: Map, problems: list[Problem], *, name: str = "model") -> Graph:
    """Like `build`, but adds what is wrong to `problems` and goes on as well as it can."""
    inputs = _inputs(tree, problems)
    try:
        steps = expand(tree, problems)
    except RecipeError:  # noted; without all steps, wiring would only complain of what is missing
        return Graph(tuple(inputs.items()), {}, (), {}, name)
    if not steps:
        return Graph(tuple(inputs.items()), {}, (), {}, name)
    work = Builder(inputs, problems, tree.get("blocks"))
    last = work.run(steps)
    outputs = work.outputs(tree.get("outputs"), last)
    graph = Graph(tuple(inputs.items()), work.nodes, outputs, work.names, name)
    if not problems:
        note_all(problems, _unread(graph))
    return graph


def _unread(graph: Graph) -> Iterator[Problem]:
    """Steps whose value nothing reads: a part of the model that its author believes to be there."""
    users, ends = graph.users(), {i for _, i in graph.outputs}
    for i, node in graph:
        if not users[i] and i not in ends:
            hint = "read it with from:, name it in outputs:, or remove it"
            yield Problem(f"nothing reads '{i}'", node.span, "" if node.span else i, hint)


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


class Builder:
    """Wires steps into nodes, one after another; `problems` grows with what is wrong."""

    def __init__(self, inputs: Mapping[str, TensorType], problems: list[Problem], blocks: Value | None = None) -> None:
        self.inputs = inputs
        self.blocks = blocks.keys() if isinstance(blocks, Map) else []
        self.problems = problems
        self.nodes: dict[str, Node] = {}
        self.names: dict[str, str] = {}

    def note(self, message: str, span: Span | None, hint: str = "", path: str = "") -> None:
        note(self.problems, message, span, hint, path)

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
            self.check_name(step)
            current = self.step(step, current, names)
            names.paths[step.path.rpartition(".")[2]] = step.path
        return current

    def check_name(self, step: Step) -> None:
        """A compiled model has its steps as attributes, and the graph its inputs beside them."""
        if step.name in RESERVED_STEPS:
            hint = f"every torch module has an attribute of that name; for instance {step.name}_1"
            self.note(f"'{step.name}' cannot name a step", step.named, hint)
        elif step.path in self.inputs:
            self.note(f"'{step.path}' names an input already", step.named, "choose another name for the step")

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
                self.unfed(step)
            return [(step.inputs[0] if step.inputs else "input", current)]
        given = step.source
        if isinstance(given, dict):
            wanted = step.inputs or ("input",)
            for name in given:
                if name not in wanted:
                    hint = near(name, wanted) or f"its inputs are {', '.join(wanted)}"
                    self.note(f"step '{step.name}' has no input '{name}'", step.key_span("from", name), hint)
            return [(n, self.find(s, step, names, n)) for n, s in given.items()]
        sources = given if isinstance(given, list) else [given]
        wanted = step.inputs or ("input",)
        if len(sources) > len(wanted):
            self.too_many(f"step '{step.name}'", len(wanted), len(sources), step)
        return [(n, self.find(s, step, names, k)) for n, (k, s) in zip(wanted, _numbered(step, sources), strict=False)]

    def unfed(self, step: Step) -> None:
        if self.inputs:
            hint = f"write from: with one of {', '.join(self.inputs)}"
            self.note(f"step '{step.name}' must say which input it reads", step.span, hint)

    def too_many(self, what: str, takes: int, given: int, step: Step) -> None:
        hint = "join them first, for instance with {op: concat, from: [a, b]}"
        said = f"{what} takes {takes or 'no'} input{'s' * (takes != 1)}, 'from' gives {given}"
        self.note(said, step.value_span("from"), hint)

    def find(self, source: Any, step: Step, names: _Names, *at: str) -> str:
        """The id of the value that a `from` names; `at` says where in it."""
        span = step.value_span("from", *at)
        if not isinstance(source, str):
            self.note(f"'from' names steps, not {checks.shown(source)}", span)
            return ""
        head, _, rest = source.partition(".")
        path = names.find(head)
        full = f"{path}.{rest}" if rest else path
        for here in (full, source):
            if here == step.path:
                break
            if here is not None and (here in self.nodes or here in self.inputs or here in self.names):
                return self.names.get(here, here)
        if source in (step.name, step.path):
            self.note(f"step '{step.name}' reads itself", span, "name a step before it")
            return ""
        seen = dict.fromkeys(n for n in names.all() if n != "input" or len(self.inputs) > 1)
        before = f"steps before it: {', '.join(list(seen)[:12])}" if seen else "no step stands before it"
        known = [n for n in dict.fromkeys([*names.all(), *self.names, *self.nodes]) if n != step.path]
        self.note(
            f"step '{step.name}' reads '{source}', which is no step before it", span, near(source, known) or before
        )
        return ""

    # -- one op ------------------------------------------------------------------------------------------------------

    def op(self, step: Step, current: str, names: _Names) -> str:
        self.nodes[step.path] = Node("identity", (), (("input", current),), step.span)  # so that wiring can go on
        if step.op == BAD_OP:
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
            said = (
                f"op '{op}' does not join branches, it takes {len(entry.inputs)} input{'s' * (len(entry.inputs) != 1)}"
            )
            self.note(said, step.value_span("merge"), "for instance merge: add, or merge: concat")
        wired = tuple((str(i), a) for i, a in enumerate(arms))
        self.nodes[step.path] = Node(entry.name, self.args(step, entry, dict(args), "merge"), wired, step.span)
        return step.path

    def entry(self, step: Step, op: str = "", key: str = "op") -> Entry | None:
        try:
            return registry.lookup("op", op or step.op)
        except AssemblerError as error:
            block = near(op or step.op, self.blocks)
            inside = isinstance(step.written.get(key), Map)
            for p in error.problems:
                self.note(p.message, step.value_span(key, *(["op"] * inside)), block or p.hint, step.path)
            return None

    def args(self, step: Step, entry: Entry, given: dict[str, Any], *at: str) -> tuple[tuple[str, Arg], ...]:
        def key_span(name: str) -> Span | None:
            return step.key_span(*at, name)

        def value_span(name: str) -> Span | None:
            return step.value_span(*at, name)

        given = {k: v for k, v in given.items() if not isinstance(v, Map)}
        written = step.written.get("merge", Map()) if at else step.written
        written = written.keys() if isinstance(written, Map) else []
        place = step.value_span(*(at or ("op",)))
        found_wrong = checks.problems(entry, given, key_span, value_span, span=place, path=step.path, written=written)
        note_all(self.problems, found_wrong)
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
                self.unfed(step)
            found = [("0" if entry.variadic else wanted[0], current)]
        elif isinstance(step.source, dict):
            found = self.named(step, entry, names, wanted)
        else:
            sources = step.source if isinstance(step.source, list) else [step.source]
            ids = [self.find(s, step, names, k) for k, s in _numbered(step, sources)]
            ports = [str(i) for i in range(len(ids))] if entry.variadic else list(wanted)
            if len(ids) > len(ports):
                self.too_many(f"op '{entry.name}'", len(wanted), len(ids), step)
            found = list(zip(ports, ids, strict=False))
        needed = () if entry.variadic else wanted[: len(wanted) - entry.optional]
        missing = [n for n in needed if n not in dict(found)]
        if missing and len(found) < len(needed):
            example = ", ".join(f"{n}: ..." for n in needed)
            said = f"op '{entry.name}' also needs the input{'s' * (len(missing) > 1)} {', '.join(missing)}"
            self.note(said, step.value_span("from"), f"write from: {{{example}}}")
        return tuple(found)

    def named(self, step: Step, entry: Entry, names: _Names, wanted: tuple[str, ...]) -> list[tuple[str, str]]:
        found = []
        for name, source in step.source.items():
            if name not in wanted and not (entry.variadic and name.isdigit()):
                hint = near(name, wanted) or f"its inputs are {', '.join(wanted)}"
                self.note(f"op '{entry.name}' has no input '{name}'", step.key_span("from", name), hint)
            found.append((name, self.find(source, step, names, name)))
        return sorted(found, key=lambda f: wanted.index(f[0]) if f[0] in wanted else 0)

    def outputs(self, section: Any, last: str) -> tuple[tuple[str, str], ...]:
        if section is None:
            return (("output", last),)
        if isinstance(section, Leaf):
            section = Map((("output", section),), section.span)
        if not isinstance(section, Map) or not len(section):
            self.note("'outputs' must be a mapping of names to steps", section.span, "for instance {logits: head}")
            return (("output", last),)
        return tuple((name, self.output(name, value)) for name, value in section)

    def output(self, name: str, value: Value) -> str:
        path = value.value if isinstance(value, Leaf) else None
        if not isinstance(path, str):
            self.note(f"output '{name}' must be the path of a step", value.span, "for instance {logits: head}")
            return ""
        if path in self.nodes or path in self.inputs or path in self.names:
            return self.names.get(path, path)
        known = [*self.inputs, *self.names, *self.nodes]
        tops = dict.fromkeys(k.split(".")[0] for k in known)
        self.note(f"output '{name}' names '{path}', which is no step", value.span, near(path, known) or _list(tops))
        return ""


def _inputs(tree: Map, problems: list[Problem]) -> dict[str, TensorType]:
    section = tree.get("inputs")
    if not isinstance(section, Map) or not len(section):
        span = tree.key_span("inputs") if "inputs" in tree else tree.span
        note(problems, "a model needs 'inputs'", span, "for instance inputs: {image: [B, 3, 32, 32]}")
        return {}
    variables = tree.get("vars")
    scope = scope_of(variables if isinstance(variables, Map) else None)
    found = {}
    for name, value in section:
        try:
            found[name] = _tensor(name, resolve(value, scope), value)
        except RecipeError as error:
            note_all(problems, error.at(value.span).problems)
            found[name] = TensorType((BATCH,))
    return found


def _tensor(name: str, said: Any, written: Value) -> TensorType:
    dtype = "float32"
    if isinstance(said, dict):
        assert isinstance(written, Map)
        unknown = [k for k in said if k not in ("shape", "dtype")]
        if unknown:
            error = RecipeError(f"input '{name}' takes no '{unknown[0]}'", hint="write {shape: [B, 16], dtype: int64}")
            raise error.at(written.key_span(unknown[0]))
        said, dtype = said.get("shape"), said.get("dtype", "float32")
        if dtype not in DTYPES:
            error = RecipeError(f"unknown dtype '{dtype}'", hint=near(str(dtype), DTYPES) or ", ".join(DTYPES))
            raise error.at(written.get("dtype").span)
        written = written.get("shape", written)
    if not isinstance(said, list) or not said:
        raise RecipeError(f"input '{name}' needs a shape", hint="for instance [B, 3, 32, 32]")
    if not isinstance(said[0], str):
        rest = ", ".join(["B", *map(str, said)])
        error = RecipeError(
            f"axis 0 of input '{name}' is the batch, not {checks.shown(said[0])}", hint=f"write [{rest}]"
        )
        raise error.at(_axis(written, 0))
    shape = tuple(BATCH if i == 0 else d for i, d in enumerate(said))
    for axis, size in enumerate(shape):
        if isinstance(size, bool) or not isinstance(size, int):
            hint = "only axis 0, the batch, may be a letter"
            said_size = f"axis {axis} of input '{name}' must be a whole number, not {checks.shown(size)}"
            raise RecipeError(said_size, hint=hint).at(_axis(written, axis))
        if size < 1:
            raise RecipeError(f"axis {axis} of input '{name}' must be at least 1, not {size}").at(_axis(written, axis))
    return TensorType(shape, dtype)


def _axis(written: Value, axis: int) -> Span | None:
    return written.items[axis].span if isinstance(written, Seq) and axis < len(written) else written.span


def _list(names: Iterable[str]) -> str:
    return "there are " + ", ".join(list(names)[:12])


def _numbered(step: Step, sources: list[Any]) -> list[tuple[str, Any]]:
    """The sources, each with its index in `from`; `from: x` has none, so its index finds nothing there."""
    return [(str(i), s) for i, s in enumerate(sources)]


def _frozen(value: Any) -> Arg:
    if isinstance(value, dict):
        return tuple((k, _frozen(v)) for k, v in value.items())
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value
