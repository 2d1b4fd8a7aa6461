"""Unrolls a model recipe: loops, blocks, patches and expressions become plain steps with full paths.

Two passes. The first lays out all copies (it needs `for`, `repeat` and `op`); then every `t` is known and the second
evaluates the arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.paths import STEP_KEYS, patch
from assembler.recipe.scope import Copies, Depth, Lazy, Scope, resolve, scope_of
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice

MOST_STEPS = 100_000
MOST_NESTING = 64
BAD = object()
"""Stands for a value whose expression failed; the failure is noted already."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step after unrolling. `kind` is "op", "chain" (steps one after another), "residual" or "branches".

    `source` is None (the previous step), a path, a list of paths or a dict of input name to path. `body` holds the
    steps inside; `shortcut` those of a residual's other arm; `merge` joins branches. `args` are evaluated.
    """

    path: str
    kind: str
    op: str = ""
    args: tuple[tuple[str, Any], ...] = ()
    source: Any = None
    body: tuple[Step, ...] = ()
    shortcut: tuple[Step, ...] = ()
    merge: tuple[str, tuple[tuple[str, Any], ...]] = ("", ())
    inputs: tuple[str, ...] = ()
    span: Span | None = field(default=None, compare=False)
    spans: tuple[tuple[str, Span | None], ...] = field(default=(), compare=False)


@dataclass
class _Draft:
    """A step laid out but not evaluated."""

    path: str
    kind: str
    step: Map
    scope: Scope
    span: Span | None
    op: str = ""
    body: list[_Draft] = field(default_factory=list)
    shortcut: list[_Draft] = field(default_factory=list)
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """Where a step is being laid out: its path, the path without copy numbers, the scope, and how deep in blocks."""

    path: str
    template: str
    scope: Scope
    depth: int = 0

    def child(self, name: str) -> _Place:
        join = f"{self.path}.{name}" if self.path else name
        return _Place(join, f"{self.template}.{name}", self.scope, self.depth)

    def copy(self, index: int, scope: Scope) -> _Place:
        return _Place(f"{self.path}.{index}", self.template, scope, self.depth)


def expand(tree: Map, problems: list[Problem] | None = None) -> tuple[Step, ...]:
    """The unrolled top-level steps of a model recipe.

    Raises RecipeError with everything that is wrong; with `problems` given, adds to that list instead and goes on.
    """
    noted: list[Problem] = [] if problems is None else problems
    work = _Expander(tree, noted)
    steps = work.run()
    if problems is None and noted:
        raise RecipeError(noted)
    return steps


class _Expander:
    def __init__(self, tree: Map, problems: list[Problem]) -> None:
        self.tree = tree
        self.problems = problems
        self.copies: dict[str, Copies] = {}
        self.made = 0
        self.blocks = {name: b for name, b in tree.get("blocks") or () if isinstance(b, Map)}

    def run(self) -> tuple[Step, ...]:
        graph = self.tree.get("graph")
        if not isinstance(graph, Map):
            self.note("a model needs 'graph', a mapping of steps", self.tree.span)
            return ()
        variables = self.tree.get("vars")
        self.root = scope_of(variables if isinstance(variables, Map) else None)
        drafts = self.lay_all(graph, _Place("", "", self.root))
        for copies in self.copies.values():
            copies.closed = True
        return tuple(self.finish(d) for d in drafts)

    def note(self, message: str, span: Span | None, hint: str = "", path: str = "") -> None:
        problem = Problem(message, span, "" if span else path, hint)
        if problem not in self.problems:
            self.problems.append(problem)

    def value(self, value: Value, scope: Scope, path: str = "") -> Any:
        try:
            return resolve(value, scope)
        except RecipeError as error:
            for p in error.problems:
                self.note(p.message, p.span or value.span, p.hint, path)
            return BAD

    # -- first pass: what copies there are ---------------------------------------------------------------------------

    def lay_all(self, body: Map, place: _Place) -> list[_Draft]:
        drafts = []
        for name, value in body:
            step = self.as_step(name, value, body.key_span(name), place)
            if step is not None:
                drafts.append(self.lay(step, place.child(name), body.key_span(name)))
        return drafts

    def as_step(self, name: str, value: Value, span: Span | None, place: _Place) -> Map | None:
        if isinstance(value, Leaf) and isinstance(value.value, str):
            return Map((("op", value),), value.span)  # `norm: layer_norm`
        if isinstance(value, Map) and is_choice(value):
            self.value(value, place.scope)
            return None
        if isinstance(value, Map) and not name.isdigit() and "." not in name:
            return value
        if isinstance(value, Map):
            self.note(f"'{name}' cannot name a step", span, "names hold no dots and are not numbers")
        else:
            self.note(f"step '{name}' must be an op's name or a mapping such as {{op: linear, out: 10}}", span)
        return None

    def lay(self, step: Map, place: _Place, span: Span | None) -> _Draft:
        if "for" in step and "repeat" in step:
            self.note("a step has either 'for' or 'repeat'", step.key_span("repeat"), "nest one in the other's body")
        if "for" not in step and "repeat" not in step:
            return self.lay_one(step, place, span)
        chain = _Draft(place.path, "chain", step, place.scope, span)
        loops = self.loops(step, place)
        copies = self.copies.setdefault(place.template, Copies())
        patches = {k: v for k, v in step if k.isdigit()}
        for key in patches:
            if int(key) >= len(loops):
                has = f"0 to {len(loops) - 1}" if loops else "none"
                self.note(f"'{place.path}' has no copy {key}", step.key_span(key), f"copies: {has}")
        plain = step.drop("for", "repeat", "from", *patches)
        for index, names in enumerate(loops):
            scope = place.scope.inner(**names, t=Depth(copies, copies.total))
            copies.total += 1
            one = patch(plain, patches[str(index)]) if str(index) in patches else plain
            assert isinstance(one, Map)
            chain.body.append(self.lay_one(one, place.copy(index, scope), span))
        return chain

    def loops(self, step: Map, place: _Place) -> list[dict[str, Any]]:
        """The names of each copy of a repeated step."""
        if "repeat" in step:
            n = self.value(step.get("repeat"), place.scope)
            if n is BAD:
                return []
            if not isinstance(n, int) or isinstance(n, bool) or n < 0:
                self.note(f"'repeat' must be a whole number, not {n!r}", step.get("repeat").span)
                return []
            return [{"j": j} for j in range(self.bounded(n, step.get("repeat").span))]
        section = step.get("for")
        if not isinstance(section, Map) or not len(section):
            self.note(
                "'for' must be a mapping of names to lists", section.span, "for instance {w: =widths, n: =depths}"
            )
            return []
        lists = {name: self.value(v, place.scope) for name, v in section}
        for name, found in lists.items():
            if found is not BAD and not isinstance(found, list | tuple):
                self.note(f"'for' needs a list for '{name}', not {found!r}", section.get(name).span)
        if not all(isinstance(v, list | tuple) for v in lists.values()):
            return []
        lengths = {name: len(v) for name, v in lists.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} has {n}" for name, n in lengths.items())
            self.note(f"the lists of 'for' differ in length: {said}", section.span)
        count = self.bounded(min(lengths.values()), section.span)
        return [{**{name: v[i] for name, v in lists.items()}, "i": i} for i in range(count)]

    def bounded(self, n: int, span: Span | None) -> int:
        self.made += n
        if self.made > MOST_STEPS:
            raise RecipeError(Problem(f"the recipe unrolls to more than {MOST_STEPS:,} copies", span))
        return n

    def lay_one(self, step: Map, place: _Place, span: Span | None) -> _Draft:
        step, op = self.op_of(step, place)
        draft = _Draft(place.path, "op", step, place.scope, step.span or span, op)
        body = step.get("body")
        if op in self.blocks:
            self.lay_block(draft, place)
        elif op in ("residual", "branches"):
            draft.kind = op
            self.lay_body(draft, body, place)
            if isinstance(step.get("shortcut"), Map):
                draft.shortcut = self.lay_all(step.get("shortcut"), place)
        elif not op and "body" in step:
            draft.kind = "chain"
            self.lay_body(draft, body, place)
        elif not op:
            self.note("a step needs 'op' or 'body'", step.key_span("op") or span, _nearest_key(step))
        elif "body" in step:
            known = "'residual', 'branches' and steps without 'op' have a body"
            self.note(f"op '{op}' takes no 'body'", step.key_span("body"), known)
        return draft

    def op_of(self, step: Map, place: _Place) -> tuple[Map, str]:
        """The step with its op's name evaluated; an op given as a whole step is spliced in."""
        value = step.get("op")
        if value is None:
            return step, ""
        found = self.value(value, place.scope)
        if isinstance(found, Map):
            return self.op_of(Map((*found, *step.drop("op", *found.keys())), step.span), place)
        if isinstance(found, str):
            return step, found
        if found is not BAD:
            self.note(f"'op' must be the name of an op, not {found!r}", value.span)
        return step, "" if "body" in step else "<bad>"

    def lay_body(self, draft: _Draft, body: Value | None, place: _Place) -> None:
        if not isinstance(body, Map):
            self.note(f"'{draft.op or 'body'}' needs a 'body', a mapping of steps", draft.span)
            return
        draft.body = self.lay_all(body, place)

    def lay_block(self, draft: _Draft, place: _Place) -> None:
        block = self.blocks[draft.op]
        body = block.get("body")
        if place.depth >= MOST_NESTING:
            self.note(f"block '{draft.op}' calls itself without end", block.span)
            return
        if not isinstance(body, Map):
            self.note(f"block '{draft.op}' needs a 'body', a mapping of steps", block.span)
            return
        params = block.get("params") if isinstance(block.get("params"), Map) else Map()
        scope = Scope({}, self.root)
        for name, default in params:
            given = draft.step.get(name)
            home = scope if given is None else draft.scope
            scope.names[name] = Lazy(default if given is None else given, home, name)
            if given is None and isinstance(default, Leaf) and default.value is None:
                self.note(f"block '{draft.op}' needs '{name}'", draft.span, path=draft.path)
        for key, change in draft.step:
            if key in STEP_KEYS or key in params:
                continue
            if key in body:
                body = body.set(key, patch(body.get(key), change))
            else:
                known = [*params.keys(), *body.keys()]
                hint = near(key, known) or f"it has {', '.join(known)}"
                self.note(f"block '{draft.op}' has no '{key}'", draft.step.key_span(key), hint)
        inputs = block.get("inputs")
        draft.kind = "chain"
        draft.inputs = tuple(str(plain.value) for plain in inputs) if isinstance(inputs, Seq) else ()
        draft.body = self.lay_all(body, _Place(place.path, place.template, scope, place.depth + 1))

    # -- second pass: what the arguments are -------------------------------------------------------------------------

    def finish(self, draft: _Draft) -> Step:
        step, scope = draft.step, draft.scope
        args: dict[str, Any] = {}
        if draft.kind == "op":
            for key, value in step:
                if key not in STEP_KEYS and (found := self.value(value, scope, draft.path)) is not BAD:
                    args[key] = found
        elif not draft.inputs and draft.op not in self.blocks:
            self.check_container(draft)
        source = self.value(step.get("from"), scope) if "from" in step else None
        return Step(
            path=draft.path,
            kind=draft.kind,
            op=draft.op,
            args=tuple(args.items()),
            source=None if source is BAD else source,
            body=tuple(self.finish(d) for d in draft.body),
            shortcut=tuple(self.finish(d) for d in draft.shortcut),
            merge=self.merge_of(draft),
            inputs=draft.inputs,
            span=draft.span,
            spans=tuple((k, step.key_span(k)) for k in (*args, "op", "from", "merge")),
        )

    def check_container(self, draft: _Draft) -> None:
        allowed = {"for", "repeat", "from", "op", "body", *(("merge",) if draft.kind == "branches" else ())}
        if draft.kind == "residual":
            allowed.add("shortcut")
        steps = draft.step.get("body")
        inside = steps.keys() if isinstance(steps, Map) else []
        repeated = "for" in draft.step or "repeat" in draft.step
        for key in draft.step.keys():
            if key not in allowed and not repeated:
                hint = near(key, [*allowed, *inside]) or f"it takes {', '.join(sorted(allowed))}"
                self.note(f"'{draft.op or 'a step with a body'}' takes no '{key}'", draft.step.key_span(key), hint)

    def merge_of(self, draft: _Draft) -> tuple[str, tuple[tuple[str, Any], ...]]:
        if draft.kind != "branches":
            return "", ()
        value = draft.step.get("merge") or Leaf("concat")
        found = self.value(value, draft.scope)
        if isinstance(found, str):
            return found, ()
        if isinstance(found, Map) and isinstance(op := found.get("op"), Leaf):
            inner = {k: self.value(v, draft.scope) for k, v in found if k != "op"}
            return str(op.value), tuple(inner.items())
        self.note("'merge' must be an op such as add or concat", value.span)
        return "", ()


def _nearest_key(step: Map) -> str:
    for key in step.keys():
        if hint := near(key, ("op", "body")):
            return f"'{key}': {hint}"
    return "for instance {op: linear, out: 10}"
