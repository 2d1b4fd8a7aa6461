"""Draws steps with bodies: residuals, branches, containers, repeats, blocks, switches, loops and experts."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from drawn_steps import KEEPING, PLAIN, Body, Here, Pen, Scope, Shape, Twin, act, put, to_width, widen


def chain(pen: Pen, here: Here, scope: Scope, *, keep: bool = False, depth: int = 0) -> tuple[Body, Here]:
    """Some steps one after another; `keep` keeps the places. At least one."""
    body: Body = {}
    for _ in range(pen.whole(1, 3 if depth else 6)):
        kinds: tuple[Callable[..., Here], ...] = KEEPING if keep else PLAIN
        made = None
        if depth < 3 and pen.left > 2 and pen.chance(2):
            found = pen.one(*(NESTS_KEEPING if keep else NESTS))(pen, body, here, scope, depth + 1)
            made, scope = found
        if made is None:
            made = pen.one(*kinds)(pen, body, here, scope)
        scope = seen(body, here, made, scope)
        here = made
        if pen.left <= 0:
            break
    pen.twins = tuple(t for t in scope.twins if t.ref.split(".")[0] in body)
    return body, here if here.ref in body else act(pen, body, here, scope)  # the value of a body is its last step's


def seen(body: Body, before: Here, made: Here, scope: Scope) -> Scope:
    """The scope after a step: its value can be read, and its weights used where it is written out alone."""
    written = body.get(made.ref)
    twins = scope.twins
    if isinstance(written, dict) and "." not in made.ref and not {"for", "repeat", "frozen", "share"} & set(written):
        source = written.get("from", before.ref)
        outside = any(re.search(rf"\b{re.escape(v.ref)}\b", str({**written, "from": ""})) for v in scope.values)
        if source == before.ref and not outside:
            alone = {k: v for k, v in deepcopy(written).items() if k != "from"}
            twins = (*twins, Twin(made.ref, alone, before.shape, made.shape))
    return Scope((*scope.values, Here(made.ref, made.shape, False)), twins)


def fit(pen: Pen, body: Body, here: Here, shape: Shape) -> Here:
    """Brought to a shape with the same places."""
    return here if here.shape == shape else to_width(pen, body, here, shape[0] if len(shape) == 3 else shape[-1])


def kept(pen: Pen, here: Here, scope: Scope, depth: int) -> Body:
    """A body that keeps the whole shape."""
    body, end = chain(pen, Here("input", here.shape), scope, keep=True, depth=depth)
    fit(pen, body, end, here.shape)
    return body


def inside(pen: Pen, here: Here, scope: Scope, depth: int) -> tuple[Body, Here]:
    """The steps of a sub-graph."""
    pen.bodies += 1
    found = chain(pen, here, scope, keep=True, depth=depth)
    pen.bodies -= 1
    return found


Nested = tuple[Here | None, Scope]


def residual(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """A residual, with a shortcut at times."""
    step: Body = {"op": "residual", "body": {}}
    inner, end = chain(pen, Here("input", here.shape), scope, keep=True, depth=depth)
    step["body"] = inner
    if end.shape != here.shape and not pen.chance(3):
        other: Body = {}
        fit(pen, other, Here("input", here.shape), end.shape)
        return put(pen, body, here, {**step, "shortcut": other}, end.shape), scope
    fit(pen, inner, end, here.shape)
    return put(pen, body, here, step, here.shape), scope


def branches(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """Arms joined by a sum or side by side."""
    arms: Body = {}
    width, axis = 0, 0 if len(here.shape) == 3 else -1
    together = pen.one("add", "concat", "mul")
    for _ in range(pen.whole(1, 3)):
        end = Here("input", here.shape)
        if together == "concat":
            end = pen.one(act, widen)(pen, arms, Here("input", here.shape), scope)
        elif depth < 3 and pen.chance(2):
            end = put(pen, arms, end, {"body": kept(pen, here, scope, depth)}, here.shape)
        else:
            end = act(pen, arms, end, scope)
        width += end.shape[axis]
    made = list(here.shape)
    if together == "concat":
        made[axis] = width
    merge: Any = together if together != "concat" or axis == 0 else {"op": "concat", "dim": -1}
    step = {"op": "branches", "merge": merge, "body": arms}
    if merge == "concat" and pen.chance(2):
        del step["merge"]
    return put(pen, body, here, step, tuple(made)), scope


def container(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """Steps under one name, which may give out more than their last value; frozen as a whole at times."""
    frozen = not pen.frozen and pen.chance(8)
    pen.frozen = pen.frozen or frozen
    inner, end = chain(pen, Here("input", here.shape), scope, keep=True, depth=depth)
    first = Here(next(iter(inner)), end.shape)
    step: Body = {"body": inner}
    if pen.chance(2):
        step["outputs"] = {"o1": end.ref, "o2": first.ref}
    pen.frozen = pen.frozen and not frozen
    made = put(pen, body, here, {**step, "frozen": True} if frozen else step, end.shape)
    if "outputs" in step:
        sides = (Here(f"{made.ref}.o1", end.shape, False), made)
        scope = Scope((*scope.values, *sides), scope.twins)
        return sides[pen.whole(0, 1)], scope
    return made, scope


def repeated(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """Copies of one step or body, with their own weights or shared ones."""
    count = pen.whole(0, 3)
    inner = kept(pen, here, scope, depth)
    change = pen.one(None, {"op": "scale", "factor": "=1 + t"}, {"op": "scale", "factor": "=1 + j * 0.5"})
    step: Body = {"repeat": pen.number(count), "body": inner}
    if change:
        inner[pen.name()] = change
    elif not pen.frozen and pen.chance(2) and not ("loop" in str(inner) and "=1 + t" in str(inner)):
        step["share"] = True  # a sub-graph with a `t` in it is another one in every copy
    made = put(pen, body, here, step, here.shape)
    if count > 1:
        scope = Scope((*scope.values, Here(f"{made.ref}.0", here.shape, False)), scope.twins)
    return made, scope


def loops_over(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """Copies for the values of lists."""
    widths = [pen.whole(1, 4) for _ in range(pen.whole(1, 3))]
    shape = (widths[-1], *here.shape[1:]) if len(here.shape) == 3 else (*here.shape[:-1], widths[-1])
    inner: Body = {}
    conv = {"op": "conv2d", "out": "=w", "kernel_size": 1}
    end = put(pen, inner, Here("input", here.shape), conv if len(shape) == 3 else {"op": "linear", "out": "=w"}, shape)
    put(pen, inner, end, {"op": "scale", "factor": "=f + i"}, shape)
    name = f"v{len(pen.tree_vars)}"
    pen.tree_vars[name] = widths
    lists = {"w": f"={name}", "f": [float(n) for n in range(len(widths))]}
    return put(pen, body, here, {"for": lists, "body": inner}, shape), scope


def block(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """A call of a block of one input, or of two and with two outputs, which is written if there is none."""
    width, maps = pen.whole(1, 4), len(here.shape) == 3
    shape = (width, *here.shape[1:]) if maps else (*here.shape[:-1], width)
    other = next((v for v in scope.values if v.shape == here.shape and v.ref != here.ref), None)
    two = other is not None and not pen.chance(3)
    name = f"b{int(maps)}{int(two)}"
    if name not in pen.blocks:
        pen.blocks[name] = _block(pen, maps, two)
    call: Body = {"op": name, "dim": pen.number(width)} | ({"act": pen.one("tanh", "silu")} if pen.chance(2) else {})
    if not two:
        return put(pen, body, here, call, shape), scope
    assert other is not None
    source = pen.one([here.ref, other.ref], {"p": other.ref, "q": here.ref})
    made = put(pen, body, here, call, shape, from_=source)
    sides = (Here(f"{made.ref}.o1", shape, False), Here(f"{made.ref}.o2", here.shape, False))
    return made, Scope((*scope.values, *sides), scope.twins)


def _block(pen: Pen, maps: bool, two: bool) -> Body:
    body: Body = {}
    names = [pen.name() for _ in range(4)]
    if two:
        body[names[0]] = {"op": "add", "from": ["p", "q"]}
    project = {"op": "conv2d", "out": "=dim", "kernel_size": 1} if maps else {"op": "linear", "out": "=dim"}
    body[names[1]] = project
    mixed = {names[3]: {"op": "=act"}}
    body[names[2]] = pen.one({"op": "=act"}, {"op": "residual", "body": mixed})
    found: Body = {"params": {"dim": None, "act": "relu"}, "body": body}
    if two:
        found |= {"inputs": ["p", "q"], "outputs": {"o1": names[2], "o2": names[0]}}
    return found


def switch(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """Two ways, of which training goes one and evaluation the other; in a frozen sub-graph one would never be gone."""
    if pen.frozen and pen.bodies:
        return None, scope
    ends = []
    for _ in range(2):
        found, end = chain(pen, Here(here.ref, here.shape, False), scope, keep=True, depth=3)
        body |= found
        ends.append(fit(pen, body, end, here.shape))
    made = put(pen, body, here, "switch", here.shape, from_={"train": ends[0].ref, "eval": ends[1].ref})
    return made, scope


def times(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """A loop of a number of times that feeds back what it carries."""
    inner, end = inside(pen, Here("h", here.shape, False), scope, depth)
    twins = pen.twins
    end = fit(pen, inner, end, here.shape)
    step: Body = {"op": "loop", "times": pen.number(pen.whole(1, 3)), "carry": ["h"], "body": inner}
    if pen.chance(2):
        step["index"] = "i"
        end = put(pen, inner, end, "add", here.shape, from_=[end.ref, "i"])
    step["outputs"] = {"h": end.ref}
    if pen.chance(4):
        step["until"] = "over"
        step["outputs"]["over"] = _over(pen, inner, end).ref
    made = put(pen, body, here, step, here.shape, from_={"h": here.ref})
    return made, lent(made, twins, scope)


def _over(pen: Pen, body: Body, here: Here) -> Here:
    """For each sample whether its values are large."""
    row = put(pen, body, here, "flatten", here.shape[:1], from_=here.ref)
    mean = put(pen, body, row, {"op": "mean", "dim": 1}, (), from_=row.ref)
    return put(pen, body, mean, {"op": "aten.gt.Scalar", "other": 0.3137}, (), from_=mean.ref)


def lent(made: Here, twins: tuple[Twin, ...], scope: Scope) -> Scope:
    """The scope behind a loop, the steps of whose body lend their weights."""
    return Scope(scope.values, (*scope.twins, *(t._replace(ref=f"{made.ref}.{t.ref}") for t in twins)))


def scan(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """A loop over tokens with carried state, whose values are collected or not."""
    rows, scope = scanned(pen, body, here, scope, depth)
    if rows is None or pen.chance(2):
        return rows, scope
    return next(v for v in reversed(scope.values) if v.ref.endswith(".h")), scope


def scanned(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """The same, and the values of all iterations are what is read further."""
    if len(here.shape) != 2:
        return None, scope
    count, width = here.shape
    first = put(pen, body, here, {"op": "mean", "dim": 1}, (width,), from_=here.ref)
    inner: Body = {}
    both = put(pen, inner, Here("x", (width,), False), pen.one("add", "mul"), (width,), from_=["x", "h"])
    more, end = inside(pen, both, scope, depth)
    twins = pen.twins
    inner |= more
    last = fit(pen, inner, end, (width,))
    step: Body = {"op": "loop", "scan": ["x"], "carry": ["h"], "collect": ["y"], "body": inner}
    step["outputs"] = {"h": last.ref, "y": end.ref}
    made = put(pen, body, here, step, (width,), from_={"x": here.ref, "h": first.ref})
    rows = Here(f"{made.ref}.y", (count, *end.shape), False)
    scope = Scope((*scope.values, rows, Here(f"{made.ref}.h", (width,), False)), scope.twins)
    return rows, lent(made, twins, scope)


def experts(pen: Pen, body: Body, here: Here, scope: Scope, depth: int) -> Nested:
    """Routed copies of a body."""
    if len(here.shape) > 2:
        return None, scope
    count = pen.whole(1, 3)
    router = put(pen, body, here, {"op": "linear", "out": count}, (*here.shape[:-1], count), from_=here.ref)
    inner, end = inside(pen, Here("x", here.shape[-1:], False), Scope(), 3)
    step = {"op": "experts", "count": count, "k": pen.whole(1, count), "body": inner}
    made = (*here.shape[:-1], *end.shape)
    return put(pen, body, here, step, made, from_={"x": here.ref, "logits": router.ref}), scope


NESTS_KEEPING: tuple[Callable[..., Nested], ...] = (
    residual, branches, container, repeated, loops_over, block, switch, times, scanned, experts,
)  # fmt: skip
NESTS = (*NESTS_KEEPING, scan)
