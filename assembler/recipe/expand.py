"""Unrolls a model recipe: loops, blocks, patches and expressions become plain steps with full paths.

Two passes. The first lays out all copies (it needs `for`, `repeat` and `op`); then every `t` is known and the second
evaluates the arguments.
"""

from __future__ import annotations

from typing import Any

from assembler import registry
from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.blocks import inputs_of, unknown_parameters
from assembler.recipe.drafts import Draft, Place
from assembler.recipe.edits import graph_text
from assembler.recipe.notes import note, note_all
from assembler.recipe.paths import STEP_KEYS, patch
from assembler.recipe.repeats import BAD, copies_are, names_of_copies, reads_by_copy
from assembler.recipe.scope import Copies, Depth, Lazy, Scope, origin, resolve, vars_of
from assembler.recipe.steps import BAD_OP, Step, bad_name, check_outputs, check_sections, name_of
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice
from assembler.recipe.weights import Weights, own_weights, weights_of_step
from assembler.registry.checks import shown

MOST_STEPS = 30_000
MOST_NESTING = 64


def expand(tree: Map, problems: list[Problem] | None = None) -> tuple[Step, ...]:
    """The unrolled top-level steps of a model recipe.

    Raises RecipeError with everything that is wrong; with `problems` given, adds to that list instead and goes on,
    and raises only where the recipe unrolls without end.
    """
    noted: list[Problem] = [] if problems is None else problems
    steps = Expander(tree, noted).run()
    if problems is None and noted:
        raise RecipeError(noted)
    return steps


class Expander:
    """Lays out the steps of a recipe, then evaluates them; `problems` grows with what is wrong."""

    def __init__(self, tree: Map, problems: list[Problem]) -> None:
        self.tree = tree
        self.problems = problems
        self.copies: dict[str, Copies] = {}
        self.made = 0
        blocks = tree.get("blocks")
        self.blocks = {n: b for n, b in blocks if isinstance(b, Map)} if isinstance(blocks, Map) else {}

    def run(self) -> tuple[Step, ...]:
        graph = self.tree.get("graph")
        if not isinstance(graph, Map):
            value = self.tree.get("graph")
            hint = "for instance graph: {norm: layer_norm, head: {op: linear, out: 10}}"
            self.note("a model needs 'graph', a mapping of steps", value.span if value else self.tree.span, hint)
            return ()
        self.check()
        self.root = vars_of(self.tree)
        drafts = self.lay_all(graph, Place("", "", self.root))
        for copies in self.copies.values():
            copies.closed = True
        return tuple(self.finish(d) for d in drafts)

    def check(self) -> None:
        """Note what is wrong with vars and blocks as they stand."""
        note_all(self.problems, check_sections(self.tree))

    def note(self, message: str, span: Span | None, hint: str = "", path: str = "") -> None:
        note(self.problems, message, span, hint, path)

    def stop(self, message: str, span: Span | None, hint: str = "") -> RecipeError:
        self.note(message, span, hint)
        return RecipeError(self.problems)

    def value(self, value: Value, scope: Scope, path: str = "") -> Any:
        try:
            return resolve(value, scope)
        except RecipeError as error:
            for p in error.problems:
                self.note(p.message, p.span or value.span, p.hint, path)
            return BAD

    # -- first pass: what copies there are ---------------------------------------------------------------------------

    def lay_all(self, body: Map, place: Place) -> list[Draft]:
        if place.depth >= MOST_NESTING:
            raise self.endless(place, body.span)
        drafts = []
        for name, value in body:
            span = body.key_span(name)
            wrong = bad_name(name, top=not place.path)
            if wrong:
                self.note(wrong[0], span, wrong[1])
            step = None if wrong else self.as_step(name, value, body, place)
            if step is not None:
                drafts.append(self.lay(step, place.child(name), span))
        return drafts

    def endless(self, place: Place, span: Span | None) -> RecipeError:
        """Steps lie too deep, because a block holds itself or because they were written so."""
        last = place.blocks[-1] if place.blocks else ""
        if place.blocks.count(last) > 1:
            round_ = " -> ".join((*place.blocks[-1 - place.blocks[-2::-1].index(last) - 1 :],))
            blocks = self.tree.get("blocks")
            hint = f"it goes round: {round_}"
            return self.stop(f"block '{last}' holds itself without end", blocks.key_span(last), hint)
        return self.stop(f"steps are nested more than {MOST_NESTING} deep", span)

    def as_step(self, name: str, value: Value, body: Map, place: Place) -> Map | None:
        if isinstance(value, Leaf) and isinstance(value.value, str):
            return Map.short("op", value)  # `norm: layer_norm`
        elif isinstance(value, Map) and is_choice(value):
            self.value(value, place.scope)
        elif isinstance(value, Map):
            return value
        else:
            hint = "for instance {op: linear, out: 10}"
            self.note(f"step '{name}' must be the name of an op or a mapping", value.span or body.key_span(name), hint)
        return None

    def lay(self, step: Map, place: Place, span: Span | None) -> Draft:
        if "for" in step and "repeat" in step:
            self.note("a step has either 'for' or 'repeat'", step.key_span("repeat"), "nest one in the other's body")
            return Draft(place.path, "chain", step, place.scope, span, span)
        if "for" not in step and "repeat" not in step:
            return self.lay_one(step, place, span)
        chain = Draft(place.path, "chain", step.drop("share", "frozen", "outputs"), place.scope, span, span)
        op = step.get("op")
        block = self.blocks.get(str(op.value)) if isinstance(op, Leaf) else None
        chain.inputs = inputs_of(block) if block else ()
        loops = names_of_copies(self, step, place.scope)
        patches = {k: v for k, v in step if k.isdigit()}
        for key in patches:
            if int(key) >= len(loops):
                self.note(f"step '{place.path}' has no copy {key}", step.key_span(key), copies_are(step, len(loops)))
        alone = reads_by_copy(step, loops)
        chain.step = chain.step.drop("from") if alone else chain.step
        common = self.common(step.drop("for", "repeat", "weights", *([] if alone else ["from"]), *patches))
        body = []
        for index, names in enumerate(loops):
            scope = place.scope.inner(**names, t=self.depth(place.template))
            changed = self.patched(common, patches[str(index)]) if str(index) in patches else common
            one = self.as_step(str(index), changed, step, place.child(str(index)))
            if one is None:
                continue
            shared = one.get("share") == Leaf(True)
            one = one.drop("share") if shared else one
            body.append(self.lay_one(one, place.copy(index, scope), span))
            body[-1].twin = f"{place.path}.0" if shared and index else ""
        chain.body = body
        return chain

    def depth(self, template: str) -> Depth:
        """The `t` of one copy more."""
        copies = self.copies.setdefault(template, Copies())
        copies.total += 1
        return Depth(copies, copies.total - 1)

    def common(self, step: Map) -> Map:
        """What is said of all copies."""
        return step

    def patched(self, common: Map, change: Value) -> Value:
        """What is said of all copies, and of one alone."""
        return patch(common, change)

    def bounded(self, n: int, span: Span | None) -> int:
        self.made += n
        if self.made > MOST_STEPS:
            raise self.stop(f"the recipe unrolls to more than {MOST_STEPS:,} steps", span)
        return n

    def lay_one(self, step: Map, place: Place, span: Span | None) -> Draft:
        self.bounded(1, span)
        if "if" in step and not self.condition(step, place):
            return self.left_out(step, place, span)
        step, op = self.op_of(step, place)
        draft = Draft(place.path, "op", step, place.scope, step.span or span, span, op)
        body = step.get("body")
        if op in self.blocks:
            self.lay_block(draft, place)
        elif op in ("residual", "branches"):
            draft.kind = op
            self.lay_body(draft, body, place)
            if op == "residual" and "shortcut" in step:
                draft.shortcut = self.lay_shortcut(step.get("shortcut"), place)
        elif ("body" in step and not op) or (op and registry.has_body(op)):
            draft.kind = "nested" if op else "chain"
            draft.outputs = step.get("outputs")
            note_all(self.problems, check_outputs(draft.outputs))
            self.lay_body(draft, body, place)
        elif not op:
            draft.op = BAD_OP
            self.note("a step needs 'op' or 'body'", step.key_span("op") or span, _nearest_key(step))
        self.check_keys(draft)
        return draft

    def condition(self, step: Map, place: Place) -> bool:
        found = self.value(step.get("if"), place.scope)
        if found is not BAD and not isinstance(found, bool | int):
            hint = "for instance if: =depth > 0"
            self.note(f"'if' is true or false, not {shown(found)}", origin(step.get("if"), place.scope), hint)
        return found is BAD or bool(found)

    def left_out(self, step: Map, place: Place, span: Span | None) -> Draft:
        """A step whose `if` is false: it passes its first input on."""
        source = step.get("from")
        only = Map(tuple((k, v) for k, v in step if k == "from"), step.span)
        inputs = tuple(source.keys()) if isinstance(source, Map) and not is_choice(source) else ()
        many = self.value(source, place.scope) if isinstance(source, Seq | Leaf) else None
        if isinstance(many, list):
            inputs = tuple(str(n) for n in range(len(many)))
        return Draft(place.path, "chain", only, place.scope, step.span or span, span, inputs=inputs, left_out=True)

    def check_keys(self, draft: Draft) -> None:
        """Keys of the language that steps of this kind do not have."""
        step, op = draft.step, draft.op
        if op in self.blocks or (op and draft.kind == "op"):
            what = f"block '{op}'" if op in self.blocks else f"op '{op}'"
            for key, hint in _BELONGS.items():
                if key in step and op != BAD_OP:
                    self.note(f"{what} takes no '{key}'", step.key_span(key), hint)

    def lay_shortcut(self, value: Value, place: Place) -> list[Draft]:
        if isinstance(value, Map) and not is_choice(value):
            return self.lay_all(value, place)
        hint = "for instance shortcut: {project: {op: conv2d, out: 64, kernel_size: 1}}"
        self.note("'shortcut' must be a mapping of steps", value.span, hint)
        return []

    def op_of(self, step: Map, place: Place, depth: int = 0) -> tuple[Map, str]:
        """The step with its op's name evaluated; an op given as a whole step is spliced in."""
        value = step.get("op")
        if value is None:
            return step, ""
        found = self.value(value, place.scope)
        if isinstance(found, Map) and depth < MOST_NESTING:
            return self.op_of(_spliced(found, step.drop("op", *found.keys())), place, depth + 1)
        if isinstance(found, str):
            return step, found
        if isinstance(found, Map):
            self.note("'op' is a step whose op is a step, without end", origin(value, place.scope), "name an op")
        elif found is not BAD:
            hint = "for instance {op: linear, out: 10}"
            self.note(f"'op' must be the name of an op, not {shown(found)}", origin(value, place.scope), hint)
        return step, "" if "body" in step else BAD_OP

    def lay_body(self, draft: Draft, body: Value | None, place: Place) -> None:
        if not isinstance(body, Map) or (draft.op and not len(body)):
            what = f"'{draft.op}' needs a 'body'" if draft.op else "'body' must be"
            op = draft.step.get("op")
            place_ = body.span if body is not None else op.span if op is not None else draft.span
            self.note(f"{what}, a mapping of steps".replace("be,", "be"), place_, _nearest_key(draft.step, ("body",)))
            return
        draft.body = self.lay_all(body, place)

    def lay_block(self, draft: Draft, place: Place) -> None:
        block = self.blocks[draft.op]
        body = block.get("body")
        draft.kind = "model" if graph_text(block) else "chain"
        draft.inputs = inputs_of(block)
        if not isinstance(body, Map):  # noted already, or a model
            note_all(self.problems, unknown_parameters(draft.op, block, draft.step) if draft.kind == "model" else ())
            return
        params = block.get("params") if isinstance(block.get("params"), Map) else Map()
        scope = Scope({}, self.root)
        for name, default in params:
            given = draft.step.get(name)
            home = scope if given is None else draft.scope
            scope.names[name] = Lazy(default if given is None else given, home, name)
            if given is None and default == Leaf(None):
                hint = f"for instance {{op: {draft.op}, {name}: ...}}"
                place_ = origin(draft.step.get("op"), draft.scope)
                self.note(f"block '{draft.op}' needs '{name}'", place_, hint, draft.path)
                scope.names[name].failed = RecipeError(())  # noted; what reads it needs no words of its own
        note_all(self.problems, unknown_parameters(draft.op, block, draft.step))
        for key, change in draft.step:
            if key not in STEP_KEYS and key not in params and key in body:
                body = body.set(key, patch(body.get(key), change))
        draft.outputs = block.get("outputs")
        inner = Place(place.path, place.template, scope, place.depth, (*place.blocks, draft.op))
        draft.body = self.lay_all(body, inner)

    # -- second pass: what the arguments are -------------------------------------------------------------------------

    def finish(self, draft: Draft) -> Step:
        step, scope = draft.step, draft.scope
        args: dict[str, Any] = {}
        if draft.kind in ("op", "nested"):
            for key, value in step:
                if key not in STEP_KEYS and (found := self.value(value, scope, draft.path)) is not BAD:
                    args[key] = found
                    if isinstance(found, Map):
                        said = f"'{key}' takes a value, not a step"
                        self.note(said, origin(value, scope), "a mapping with 'op' is a step")
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
            outputs=self.outputs_of(draft),
            share=draft.twin or self.share_of(draft),
            frozen=self.frozen_of(draft),
            left_out=draft.left_out,
            weights=self.weights_of(draft),
            model=self.blocks[draft.op] if draft.kind == "model" else None,
            span=draft.span,
            named=draft.named,
            written=step,
            scope=scope,
        )

    def weights_of(self, draft: Draft) -> Weights | None:
        if draft.kind != "model" or "weights" in draft.step:
            return weights_of_step(draft.step, draft.scope, self.problems)
        return None if draft.twin or "share" in draft.step else own_weights(self.blocks[draft.op], block=True)

    def check_container(self, draft: Draft) -> None:
        allowed = {"for", "repeat", "from", "op", "body", "share", "frozen", "initializers", "weights", "if"}
        allowed |= {"merge"} if draft.kind == "branches" else {"outputs"} if draft.kind == "chain" else set()
        if draft.kind == "residual":
            allowed.add("shortcut")
        steps = draft.step.get("body")
        inside = steps.keys() if isinstance(steps, Map) else []
        repeated = "for" in draft.step or "repeat" in draft.step
        for key in draft.step.keys():
            if key not in allowed and not repeated:
                hint = near(key, [*allowed, *inside]) or f"it takes {', '.join(sorted(allowed))}"
                said = f"'{draft.op}' takes" if draft.op else f"step '{name_of(draft.path)}' has"
                self.note(f"{said} no '{key}'", draft.step.key_span(key), hint)

    def outputs_of(self, draft: Draft) -> tuple[tuple[str, Leaf], ...]:
        if not isinstance(draft.outputs, Map):
            return ()
        return tuple((name, v) for name, v in draft.outputs if isinstance(v, Leaf) and isinstance(v.value, str))

    def share_of(self, draft: Draft) -> Any:
        value = draft.step.get("share")
        found = self.value(value, draft.scope) if value is not None else None
        if isinstance(found, dict) and found and all(isinstance(v, str) for v in found.values()):
            return found
        if found is not None and found is not BAD and not isinstance(found, str):
            hint = "for instance share: encoder.0, or share: {weight: embed.weight}; true shares the copies of one step"
            self.note(f"'share' names a step or parameters, not {shown(found)}", value.span, hint)
            return None
        return None if found is BAD else found

    def frozen_of(self, draft: Draft) -> bool:
        value = draft.step.get("frozen")
        found = self.value(value, draft.scope) if value is not None else False
        if found is not BAD and not isinstance(found, bool):
            self.note(f"'frozen' is true or false, not {shown(found)}", value.span)
        return found is True

    def merge_of(self, draft: Draft) -> tuple[str, tuple[tuple[str, Any], ...]]:
        if draft.kind != "branches":
            return "", ()
        value = draft.step.get("merge") or Leaf("concat")
        found = self.value(value, draft.scope)
        if isinstance(found, str):
            return found, ()
        if isinstance(found, Map) and isinstance(op := found.get("op"), Leaf):
            inner = {k: self.value(v, draft.scope) for k, v in found if k != "op"}
            return str(op.value), tuple(inner.items())
        if found is not BAD:
            self.note("'merge' must be an op such as add or concat", value.span)
        return "", ()


_BELONGS = {
    "body": "'residual', 'branches', steps without 'op' and ops that call a sub-graph have a body",
    "outputs": "blocks and steps with a body name their outputs",
    "shortcut": "only 'residual' has a shortcut",
    "merge": "only 'branches' are merged",
}


def _spliced(first: Map, then: Map) -> Map:
    spans = [m.key_spans or (None,) * len(m) for m in (first, then)]
    return Map(first.items + then.items, then.span or first.span, spans[0] + spans[1])


def _nearest_key(step: Map, wanted: tuple[str, ...] = ("op", "body")) -> str:
    for key in step.keys():
        if key not in STEP_KEYS and (hint := near(key, wanted)):
            return f"'{key}': {hint}"
    return "for instance {op: linear, out: 10}" if "op" in wanted else "for instance body: {norm: layer_norm}"
