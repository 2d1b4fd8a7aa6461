"""Blocks that may call themselves: `depth: 3` in a block makes its choices a grammar, three calls deep.

    blocks:
      cell:
        depth: 3
        body:
          left: {op: {$oneof: [relu, {op: cell}]}}
          right: {op: {$oneof: [gelu, {op: cell}]}}

Every call of such a block makes the choices in its body for itself, named by where the call stands
(`net.left.op[cell].right.op`), and where the depth is used up, candidates that would call it once more fall away. What
comes out is an ordinary recipe: each call says the steps of the body that hold choices, so nothing after this knows of
grammars.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from assembler.errors import Problem, RecipeError
from assembler.recipe.notes import note
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice, plain

DEPTH = "depth"
MOST_CALLS = 5_000
_STEPS = ("graph", "body", "shortcut")
_SAID_BY_CALLS = Leaf(None)
"""Stands in the block for a step that every call says for itself, as null does for such a parameter."""
_ENDLESS = Leaf("identity")
"""Stands for a step that cannot be made; that is noted."""

Left = tuple[tuple[str, int], ...]
"""How many more calls of each block may lie inside one another here."""


def unrolled(tree: Map, problems: list[Problem]) -> Map:
    """The recipe with every call of a block that has a depth made on its own; what is wrong is noted."""
    blocks = tree.get("blocks")
    if not isinstance(blocks, Map) or not any(isinstance(b, Map) and DEPTH in b for _, b in blocks):
        return tree
    found = _Grammar(blocks, problems)
    try:
        return found.tree(tree)
    except RecipeError as error:
        for p in error.problems:
            note(problems, p.message, p.span, p.hint)
        return tree.set("blocks", found.definitions(None))


@dataclass
class _Grammar:
    blocks: Map
    problems: list[Problem]
    depths: dict[str, int] = field(init=False)
    made: dict[tuple[str, Left], tuple[tuple[tuple[str, Value], ...] | None, int]] = field(default_factory=dict)
    calls: int = 0

    def __post_init__(self) -> None:
        self.depths = {name: self.depth(name, b) for name, b in self.blocks if isinstance(b, Map) and DEPTH in b}

    def depth(self, name: str, block: Map) -> int:
        said = plain(block.get(DEPTH))
        if type(said) is int and 1 <= said <= 64:
            return said
        message = f"'depth' of block '{name}' is how many of its calls may lie in one another, from 1 to 64"
        note(self.problems, message, block.get(DEPTH).span or block.key_span(DEPTH), "for instance depth: 3")
        return 1

    def tree(self, tree: Map) -> Map:
        left = tuple(sorted(self.depths.items()))
        for section in ("vars", "graph"):
            if isinstance(steps := tree.get(section), Map):
                tree = tree.set(section, self.whole(steps, left))
        return tree.set("blocks", self.definitions(left))

    def definitions(self, left: Left | None) -> Map:
        """The blocks as they stand after unrolling: those with a depth without what their calls say."""
        made = self.blocks
        for name, block in self.blocks:
            if not isinstance(block, Map):
                continue
            body = block.get("body")
            if isinstance(body, Map) and left is not None:
                block = block.set("body", self.definition(name, body, left))
            made = made.set(name, block.drop(DEPTH))
        return made

    def definition(self, name: str, body: Map, left: Left) -> Value:
        if name not in self.depths:
            return self.whole(body, left)
        said = self.said(name, left)[0]
        if said is None:
            return Map(((k, _ENDLESS) for k, _ in body), body.span, body.key_spans)
        return Map(((k, _SAID_BY_CALLS if k in dict(said) else v) for k, v in body), body.span, body.key_spans)

    def whole(self, steps: Map, left: Left) -> Map:
        """Steps that have to be there: what cannot be made is noted."""
        made = []
        for name, value in steps:
            step = self.step(value, left)
            if step is None:
                message = f"step '{name}' never ends: whatever is chosen in it calls a block again"
                hint = "give one of the choices a candidate that calls no block, or raise the block's depth"
                note(self.problems, message, steps.key_span(name), hint)
            made.append((name, step or _ENDLESS))
        return self.items(steps, made) or steps

    # -- values: None stands for what cannot be made within the depth -------------------------------------------------

    def steps(self, steps: Map, left: Left) -> Map | None:
        """A mapping of steps."""
        return self.items(steps, ((name, self.step(value, left)) for name, value in steps))

    def step(self, value: Value, left: Left) -> Value | None:
        """One step, which may be written as the name of its op."""
        if isinstance(value, Leaf) and value.value in self.depths:
            value = Map.short("op", value)
        return self.value(value, left)

    def value(self, value: Value, left: Left) -> Value | None:
        if isinstance(value, Seq):
            found = [self.value(v, left) for v in value]
            return self.seq(value, found) if all(v is not None for v in found) else None
        if not isinstance(value, Map):
            return value
        if is_choice(value):
            return self.choice(value, left)
        op = value.get("op")
        if isinstance(op, Leaf) and op.value in self.depths:
            return self.call(value, str(op.value), left)
        parts = (
            (k, self.steps(v, left) if k in _STEPS and isinstance(v, Map) and not is_choice(v) else self.value(v, left))
            for k, v in value
        )
        return self.items(value, parts)

    def items(self, value: Map, parts: Iterable[tuple[str, Value | None]]) -> Map | None:
        found = list(parts)
        if any(v is None for _, v in found):
            return None
        if all(new is old for (_, new), (_, old) in zip(found, value, strict=True)):
            return value
        return Map(((k, v) for k, v in found if v is not None), value.span, value.key_spans)

    @staticmethod
    def seq(value: Seq, found: list[Value | None]) -> Seq:
        kept = tuple(v for v in found if v is not None)
        same = len(kept) == len(value) and all(new is old for new, old in zip(kept, value, strict=True))
        return value if same else Seq(kept, value.span)

    def choice(self, value: Map, left: Left) -> Value | None:
        """A choice between those of its candidates that can be made."""
        key = next(k for k in value.keys() if k.startswith("$"))
        body = value.get(key)
        if not isinstance(body, Seq):
            return value
        found = self.seq(body, [self.step(c, left) for c in body])
        least = plain(value.get("k", Leaf(1)))
        if len(found) < len(body):
            if not len(found) or (isinstance(least, int) and len(found) < least) or key == "$permutate":
                return None
            if key == "$oneof" and len(found) == 1:
                return found.items[0]
        return value if found is body else value.set(key, found)

    def call(self, step: Map, name: str, left: Left) -> Map | None:
        """A call that says those steps of the body that hold choices, one call fewer being left inside it."""
        inner = dict(left)
        if inner[name] == 0:
            return None
        inner[name] -= 1
        below = tuple(sorted(inner.items()))
        body = self.blocks.get(name).get("body")
        own = body.keys() if isinstance(body, Map) else []
        given = self.items(step, ((k, self.step(v, below) if k in own else self.value(v, left)) for k, v in step))
        said, calls = self.said(name, left)
        self.calls += calls
        if given is None or said is None:
            return None
        for key, value in said:
            if key not in given:
                given = given.set(key, value)
        return given

    def said(self, name: str, left: Left) -> tuple[tuple[tuple[str, Value], ...] | None, int]:
        """The steps of a block's body that a call has to say, and how many calls lie in them."""
        if (name, left) not in self.made:
            inner = {**dict(left)}
            inner[name] -= 1
            before, self.calls = self.calls, 1
            found = self.body(name, tuple(sorted(inner.items())))
            calls, self.calls = self.calls, before
            if calls > MOST_CALLS:
                hint = "lower its depth, or call it from fewer places"
                span = self.blocks.get(name).key_span(DEPTH)
                raise RecipeError(Problem(f"block '{name}' unrolls to more than {MOST_CALLS:,} calls", span, hint=hint))
            self.made[name, left] = found, calls
        return self.made[name, left]

    def body(self, name: str, below: Left) -> tuple[tuple[str, Value], ...] | None:
        block = self.blocks.get(name)
        body, params = block.get("body"), block.get("params")
        said: list[tuple[str, Value]] = []
        for key, step in body if isinstance(body, Map) else ():
            made = self.step(step, below)
            if made is None:
                return None
            if made is not step or _is_open(step):
                said.append((key, made))
                if isinstance(params, Map) and key in params:
                    message = f"step '{key}' of block '{name}' bears the name of a parameter"
                    note(self.problems, message, body.key_span(key), "a call has to say both: rename one")
        for key, value in params if isinstance(params, Map) else ():
            if _is_open(value):
                message = f"a block with a depth makes its choices in its body, not in '{key}'"
                note(self.problems, message, params.key_span(key), "write the choice where the parameter is read")
        return tuple(said)


def _is_open(value: Value) -> bool:
    if is_choice(value):
        return True
    parts = [v for _, v in value] if isinstance(value, Map) else value.items if isinstance(value, Seq) else ()
    return any(map(_is_open, parts))
