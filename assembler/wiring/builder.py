"""Steps to nodes: names become edges, arguments are checked against the ops' signatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from keyword import iskeyword
from typing import Any

from assembler import registry
from assembler.errors import AssemblerError, Problem, Span, near
from assembler.graph.core import ITEM, Arg, Node, TensorType
from assembler.graph.reserved import RESERVED_STEPS
from assembler.recipe.notes import note, note_all
from assembler.recipe.paths import STEP_KEYS
from assembler.recipe.steps import BAD_OP, Step
from assembler.recipe.values import Leaf, Map, Value
from assembler.registry import Entry, checks
from assembler.wiring.giving import given_out
from assembler.wiring.names import ABSENT, Names, around
from assembler.wiring.nesting import nest
from assembler.wiring.sharing import mark

_KEEP = "`keep` is a word for imported models; in a recipe's own space write the op that stands there now"


_CONTAINERS = ("residual", "branches")
"""Words for `op:` that are none of the registry's."""


class Builder:
    """Wires steps into nodes, one after another; `problems` grows with what is wrong."""

    def __init__(self, inputs: Mapping[str, TensorType], problems: list[Problem], blocks: Value | None = None) -> None:
        self.inputs = inputs
        self.blocks = blocks.keys() if isinstance(blocks, Map) else []
        self.problems = problems
        self.nodes: dict[str, Node] = {}
        self.names: dict[str, str] = {}
        self.spare: set[str] = set()

    def note(self, message: str, span: Span | None, hint: str = "", path: str = "") -> None:
        note(self.problems, message, span, hint, path)

    def run(self, steps: Iterable[Step]) -> str:
        top = {name: name for name in self.inputs}
        first = next(iter(self.inputs), "")
        if len(self.inputs) == 1:
            top["input"] = first
        current = first if len(self.inputs) == 1 else ""
        return self.chain(steps, current, Names(top))

    def chain(self, steps: Iterable[Step], current: str, names: Names) -> str:
        """Wire steps one after another; the id of the last one's value."""
        steps = [*steps]
        names.steps.update({step.name: step for step in steps})
        for step in steps:
            self.check_name(step)
            current = self.step(step, current, names)
            if step.share or step.frozen or "initializers" in step.written:
                mark(self, step, names)
            last = step.path.rpartition(".")[2]
            names.paths[last] = step.path
            if last.isdecimal() and step.source is not None:  # a copy that reads for itself follows the one before
                names.paths["input"] = step.path
        return current

    def check_name(self, step: Step) -> None:
        """A compiled model has its steps as attributes, and the graph its inputs beside them."""
        if iskeyword(step.name):
            self.note(
                f"'{step.name}' cannot name a step, it is a word of Python", step.named, f"for instance {step.name}_1"
            )
        elif step.name in RESERVED_STEPS:
            hint = f"every torch module has an attribute of that name; for instance {step.name}_1"
            self.note(f"'{step.name}' cannot name a step", step.named, hint)
        elif step.path in self.inputs:
            self.note(f"'{step.path}' names an input already", step.named, "choose another name for the step")

    def step(self, step: Step, current: str, names: Names) -> str:
        if step.kind == "op":
            return self.op(step, current, names)
        if step.kind == "nested":
            return nest(self, step, current, names)
        if step.kind == "model":
            from assembler.wiring.models import put_in  # few recipes have one

            return put_in(self, step, self.entering(step, current, names))
        entry = self.entering(step, current, names)
        if step.kind == "chain":
            inside = Names({"input": entry[0][1] if entry else current} | self.left_out(step, names), names)
            for name, source in entry:
                inside.paths[name] = source
            found = self.chain(step.body, entry[0][1] if entry else current, inside)
            for name, i in given_out(self, step, inside):
                self.spare.add(i)
                if (i or found) != f"{step.path}.{name}":  # else the step inside bears the name itself
                    self.names[f"{step.path}.{name}"] = i or found
                found = i if name == step.outputs[0][0] else found
            self.names[step.path] = found
            return found
        source = entry[0][1] if entry else current
        if step.kind == "residual":
            arms = [self.chain(step.shortcut, source, Names({"input": source}, names)) if step.shortcut else source]
            arms.append(self.chain(step.body, source, Names({"input": source}, names)))
            return self.join(step, "add", (), arms)
        there = [one for one in step.body if not one.left_out]
        arms = [self.chain([one], source, Names({"input": source}, names)) for one in there] or [source]
        return self.join(step, step.merge[0], step.merge[1], arms)

    def value_at(self, source: str, names: Names, besides: str = "") -> str:
        """The id of the value that `source` names where `names` are seen; "" where there is none.

        A name behind a step that has several outputs is one of them.
        """
        head, _, rest = source.partition(".")
        path = names.find(head)
        if path == ABSENT:
            return ABSENT
        for here in (f"{path}.{rest}" if rest else path, source):
            if here is None or here == besides:
                continue
            if here in self.nodes or here in self.inputs or here in self.names:
                return self.names.get(here, here)
            if item := self.item(here):
                return item
        return ""

    def item(self, path: str) -> str:
        """The id of a further output of a step, where `path` names one."""
        owner, _, name = path.rpartition(".")
        owner = self.names.get(owner, owner)
        node = self.nodes.get(owner)
        outputs = None if node is None else registry.lookup("op", node.op).outputs(dict(node.args))
        if node is None or outputs is None:
            return ""
        name = outputs[int(name)] if name.isdecimal() and int(name) < len(outputs) else name
        if name in (*outputs[:1], "0"):
            return owner
        if name not in outputs and not (name.isdecimal() and not outputs):
            return ""
        i = f"{owner}.{name}"
        self.nodes[i] = Node(ITEM, (("output", name),), (("input", owner),), node.span)
        return i

    def matching(self, pattern: str, step: Step, names: Names, *at: str) -> list[str]:
        """The ids of all values before a step that a pattern names, in order: `layer.*.load`.

        Where the step stands in a copy of `layer` itself, these are the copies before it: none in the first.
        """
        head, _, rest = pattern.partition(".")
        path = names.find(head) or around(head, step) or head
        owner, _, last = f"{path}.{rest}".rpartition(".")
        known = list(dict.fromkeys([*self.nodes, *self.names]))
        found = [self.names.get(i, i) for i in known if _matches(f"{path}.{rest}", i) and i != step.path]
        if not found and last != "*":  # one output of each of several steps
            found = [i for i in (self.item(f"{o}.{last}") for o in known if _matches(owner, o)) if i]
        if not found and not names.first_copy(f"{path}.{rest}", step):
            hint = "* stands for one part of a path, for instance layer.*.load"
            self.note(
                f"step '{step.name}' reads '{pattern}', and no step before it is called so",
                step.value_span("from", *at),
                hint,
            )
        return list(dict.fromkeys(found))

    def no_such_output(self, source: str, names: Names) -> tuple[str, str] | None:
        """What is wrong with a name behind a step, where it is none of the step's outputs, and a hint."""
        owner, _, name = source.rpartition(".")
        node = self.nodes.get(self.value_at(owner, names)) if owner else None
        if node is None or any(path.startswith(f"{owner}.") for path in (*self.nodes, *self.names)):
            return None
        outputs = registry.lookup("op", node.op).outputs(dict(node.args)) or ()
        hint = near(name, outputs) or (f"it has {', '.join(outputs)}" if outputs else f"read '{owner}' itself")
        return f"'{owner}' ({node.op}) has {f'no output {name!r}' if outputs else 'one output'}", hint

    def entering(self, step: Step, current: str, names: Names) -> list[tuple[str, str]]:
        """(name, id) of what enters a container."""
        wanted = [name.removesuffix("?") for name in step.inputs] or ["input"]
        if step.source is None:
            begun = step.kind == "chain" and step.body and step.body[0].source is not None  # by what its steps say
            if not current and not begun:
                self.unfed(step, names)
            return [(wanted[0], current)]
        given = step.source
        if isinstance(given, dict):
            for name in given:
                if name not in wanted:
                    hint = near(name, wanted) or f"its inputs are {', '.join(wanted)}"
                    self.note(f"step '{step.name}' has no input '{name}'", step.key_span("from", name), hint)
            return [(n, self.find(s, step, names, n)) for n, s in given.items()]
        sources = given if isinstance(given, list) else [given]
        if len(sources) > len(wanted):
            self.too_many(f"step '{step.name}'", len(wanted), len(sources), step)
        return [(n, self.find(s, step, names, k)) for n, (k, s) in zip(wanted, _numbered(step, sources), strict=False)]

    def left_out(self, step: Step, names: Names) -> dict[str, str]:
        """The inputs of a block that a call may leave out; a copy of a repeated step has those of the whole."""
        may = [name[:-1] for name in step.inputs if name.endswith("?")]
        copied = step.path.rpartition(".")[2].isdecimal()
        return {name: ABSENT for name in may if not (copied and name in names.paths)}

    def present(self, found: list[tuple[str, str]], step: Step, entry: Entry) -> list[tuple[str, str]]:
        """What is fed to an op, without what the call of the block around it leaves out."""
        may = entry.inputs[len(entry.inputs) - entry.optional :]
        for port, source in found:
            if source == ABSENT and not entry.variadic and port not in may:
                said = f"'{step.path}' needs its input '{port}', which the call of the block leaves out"
                self.note(said, step.span, "give it with from:, or leave the step out with if:")
        kept = [(port, source) for port, source in found if source != ABSENT]
        return [(str(n), source) for n, (_, source) in enumerate(kept)] if entry.variadic else kept

    def unfed(self, step: Step, names: Names) -> None:
        if known := names.entering() or tuple(self.inputs):
            hint = f"write from: with one of {', '.join(known)}"
            self.note(f"step '{step.name}' must say which input it reads", step.span, hint)

    def too_many(self, what: str, takes: int, given: int, step: Step) -> None:
        hint = "join them first, for instance with {op: concat, from: [a, b]}"
        said = f"{what} takes {takes or 'no'} input{'s' * (takes != 1)}, 'from' gives {given}"
        self.note(said, step.value_span("from"), hint)

    def find(self, source: Any, step: Step, names: Names, *at: str) -> str:
        """The id of the value that a `from` names; `at` says where in it."""
        span = step.value_span("from", *at)
        if not isinstance(source, str):
            number = type(source) in (int, float) and not isinstance(step.source, int | float)
            hint = f"{{op: scale, factor: {float(source)}}} multiplies by a number" if number else ""
            self.note(f"'from' names steps, not {checks.shown(source)}", span, hint)
            return ""
        if found := self.value_at(source, names, step.path):
            return found
        if said := self.no_such_output(source, names):
            self.note(said[0], span, said[1])
            return ""
        if source in (step.name, step.path):
            self.note(f"step '{step.name}' reads itself", span, "name a step before it")
            return ""
        seen = dict.fromkeys(n for n in names.all() if n != "input" or len(self.inputs) > 1)
        before = f"steps before it: {', '.join(list(seen)[:12])}" if seen else "no step stands before it"
        known = [n for n in dict.fromkeys([*names.all(), *self.names, *self.nodes]) if n != step.path]
        hint = names.hint(source.partition(".")[0], step) or near(source, known) or before
        self.note(f"step '{step.name}' reads '{source}', which is no step before it", span, hint)
        return ""

    # -- one op ------------------------------------------------------------------------------------------------------

    def op(self, step: Step, current: str, names: Names) -> str:
        self.nodes[step.path] = Node("identity", (), (("input", current),), step.span)  # so that wiring can go on
        if step.op == BAD_OP:
            return step.path
        entry = self.entry(step)
        if entry is None:
            return step.path
        args = self.args(step, entry, dict(step.args))
        inputs = self.wire(step, entry, current, names)
        if entry.qualname and all(s for _, s in inputs):
            self.nodes.pop(step.path)  # what it reads of a step with several outputs stands before it
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
            block = near(op or step.op, [*self.blocks, *_CONTAINERS])
            inside = isinstance(step.written.get(key), Map)
            for p in error.problems:
                hint = block or (_KEEP if (op or step.op) == "keep" else p.hint)
                self.note(p.message, step.value_span(key, *(["op"] * inside)), hint, step.path)
            return None

    def args(self, step: Step, entry: Entry, given: dict[str, Any], *at: str) -> tuple[tuple[str, Arg], ...]:
        def key_span(name: str) -> Span | None:
            return step.key_span(*at, name)

        def value_span(name: str) -> Span | None:
            return step.value_span(*at, name)

        given = {k: v for k, v in given.items() if not isinstance(v, Map)}
        written = step.written.get("merge", Map()) if at else step.written
        written = written.keys() if isinstance(written, Map) else []
        if any(checks.problems(entry, given, _nowhere, written=written)):
            place = step.value_span(*(at or ("op",)))
            wrong = checks.problems(entry, given, key_span, value_span, span=place, path=step.path, written=written)
            note_all(self.problems, (_meant(p, given, step) for p in wrong))
        found: dict[str, Arg] = {}
        for name, value in given.items():
            param = entry.param(name)
            if param is None or not param.type.accepts(value):
                continue
            value = float(value) if param.type.kind == "float" else value
            if value != param.default or type(value) is not type(param.default):
                found[param.name] = _frozen(value)
        return tuple(sorted(found.items()))

    def wire(self, step: Step, entry: Entry, current: str, names: Names) -> tuple[tuple[str, str], ...]:
        wanted = entry.inputs or ("input",)
        if step.source is None:
            if not current:
                self.unfed(step, names)
            found = [("0" if entry.variadic else wanted[0], current)]
        elif isinstance(step.source, dict):
            found = self.named(step, entry, names, wanted)
        else:
            sources = step.source if isinstance(step.source, list) else [step.source]
            ids = []
            for k, s in _numbered(step, sources):
                several = entry.variadic and isinstance(s, str) and "*" in s
                ids += self.matching(s, step, names, k) if several else [self.find(s, step, names, k)]
            if entry.variadic and not (ids or self.problems):
                said = f"step '{step.name}' reads the copies before it alone, and there is none before the first"
                self.note(said, step.value_span("from"), "name what enters the first too: from: [stem, layer.*]")
            ports = [str(i) for i in range(len(ids))] if entry.variadic else list(wanted)
            if len(ids) > len(ports):
                self.too_many(f"op '{entry.name}'", len(wanted), len(ids), step)
            found = list(zip(ports, ids, strict=False))
        if any(source == ABSENT for _, source in found):
            return tuple(self.present(found, step, entry))
        needed = () if entry.variadic else wanted[: len(wanted) - entry.optional]
        missing = [n for n in needed if n not in dict(found)]
        if missing and len(found) < len(needed):
            example = ", ".join(f"{n}: ..." for n in needed)
            said = f"op '{entry.name}' also needs the input{'s' * (len(missing) > 1)} {', '.join(missing)}"
            self.note(said, step.value_span("from"), f"write from: {{{example}}}")
        return tuple(found)

    def named(self, step: Step, entry: Entry, names: Names, wanted: tuple[str, ...]) -> list[tuple[str, str]]:
        found = []
        for name, source in step.source.items():
            if name not in wanted and not (entry.variadic and name.isdigit()):
                hint = near(name, wanted) or f"its inputs are {', '.join(wanted)}"
                self.note(f"op '{entry.name}' has no input '{name}'", step.key_span("from", name), hint)
            found.append((name, self.find(source, step, names, name)))
        return sorted(found, key=lambda f: wanted.index(f[0]) if f[0] in wanted else 0)


def _meant(problem: Problem, given: Mapping[str, Any], step: Step) -> Problem:
    """A problem of an argument that is the bare name of something, with a hint at the expression."""
    for name in given if " has no argument " in problem.message else ():
        if problem.message.endswith(f"'{name}'") and (meant := near(name, STEP_KEYS, most=2)):
            also = problem.hint.removesuffix("?") + " or" if problem.hint.startswith("did you mean") else "did you mean"
            return replace(problem, hint=f"{also} {meant.removeprefix('did you mean ')}")
    for name, value in given.items() if " must be " in problem.message else ():
        bare = isinstance(value, str) and value.isidentifier() and step.written.get(name) == Leaf(value)
        if bare and problem.message.startswith(f"'{name}' "):
            if name == "init" and value in registry.names("initializer"):
                return replace(problem, hint=f"write initializers: {{weight: {value}}} in place of it")
            if problem.hint or (" must be one of " in problem.message and value not in step.scope):
                return problem  # another word of those it takes was meant, no var
            where = "" if value in step.scope else f", with {value} under vars:"
            return replace(problem, hint=f"an expression begins with =: write {name}: ={value}{where}")
    return problem


def _nowhere(name: str) -> None:
    """A place that is not looked up."""


def _matches(pattern: str, path: str) -> bool:
    parts, words = pattern.split("."), path.split(".")
    return len(parts) == len(words) and all(p in ("*", w) for p, w in zip(parts, words, strict=True))


def _numbered(step: Step, sources: list[Any]) -> list[tuple[str, Any]]:
    """The sources, each with its index in `from`; `from: x` has none, so its index finds nothing there."""
    return [(str(i), s) for i, s in enumerate(sources)]


def _frozen(value: Any) -> Arg:
    if isinstance(value, dict):
        return tuple((k, _frozen(v)) for k, v in value.items())
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value
