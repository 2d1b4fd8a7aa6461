"""Draws whole recipes of models as YAML text, all of them valid, and names of steps to be changed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import yaml
from drawn_nests import chain
from drawn_steps import Body, Here, Pen, Scope, Shape, put
from hypothesis import strategies as st

STEP = r"\bs(\d+)\b"
"""What the names of all drawn steps look like; nothing else in a drawn recipe does."""
WORDS = 7
"""How many words there are."""


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def text_of(tree: Body, *, flow: bool | None = False, width: int = 80) -> str:
    """A recipe's tree as YAML."""
    found: str = yaml.dump(tree, Dumper=_Plain, sort_keys=False, default_flow_style=flow, width=width)
    return found


@st.composite
def recipes(draw: st.DrawFn, most: int = 20) -> str:
    """The text of a valid model recipe of about `most` steps at the most."""
    tree = draw(trees(most))
    return text_of(tree, flow=draw(st.sampled_from([False, None, True])), width=draw(st.sampled_from([30, 120])))


@st.composite
def trees(draw: st.DrawFn, most: int = 20) -> Body:
    """The same as mappings and lists."""
    pen = Pen(draw, draw(st.integers(1, most)))
    trained = pen.chance()
    inputs, entries = _inputs(pen, trained)
    graph: Body = {}
    ends: list[Here] = []
    scope = Scope()
    for entry in entries:
        end = entry
        if tokens := _tokens(pen, graph, inputs, entry):
            end = tokens
        body, end = chain(pen, end, scope)
        graph |= body
        if tokens and len(end.shape) < 3 and end.shape[-1] == tokens.shape[-1] and pen.chance(2):
            head = {"op": "linear", "out": WORDS, "bias": False, "share": {"weight": f"{tokens.ref}.weight"}}
            end = put(pen, graph, end, head, (*end.shape[:-1], WORDS))
        last = Here(end.ref, end.shape, False)
        ends.append(_joined(pen, graph, last, ends[-1]) if ends and pen.chance(2) else last)
        scope = Scope((*scope.values, last))
    only: Body = {}
    if trained:
        only = _trained(pen, graph, inputs, ends)
    read = _read(graph, top=True)
    tree: Body = {"kind": "model"} if pen.chance(2) else {}
    tree |= {"vars": pen.tree_vars} if pen.tree_vars else {}
    tree |= {"inputs": inputs} | ({"blocks": pen.blocks} if pen.blocks else {}) | {"graph": graph}
    outputs = _outputs(pen, graph, [e for e in ends if e.ref.split(".")[0] not in read] or ends[-1:], only)
    return tree | ({"outputs": outputs} if outputs is not None else {})


def _tokens(pen: Pen, graph: Body, inputs: Body, entry: Here) -> Here | None:
    """Makes an input one of words and embeds them, at times."""
    if len(entry.shape) != 1 or entry.ref not in ("x0", "x1") or not pen.chance(3):
        return None
    inputs[entry.ref] = {"shape": ["B", *entry.shape], "dtype": "int64"}
    width = pen.whole(1, 4)
    return put(pen, graph, entry, {"op": "embedding", "num_embeddings": WORDS, "out": width}, (*entry.shape, width))


def _shape(pen: Pen) -> Shape:
    rank = pen.whole(1, 3)
    return tuple(pen.whole(1, 4) for _ in range(rank))


def _inputs(pen: Pen, several: bool) -> tuple[Body, list[Here]]:
    """The inputs as written, and how to read each; with `several`, there will be others."""
    shapes = [_shape(pen) for _ in range(pen.one(1, 1, 1, 2, 3))]
    written = [["B", *shape] if pen.chance(2) else {"shape": ["B", *shape]} for shape in shapes]
    if len(shapes) == 1 and several:
        return {"x0": written[0]}, [Here("x0", shapes[0], False)]
    if len(shapes) == 1:
        return {"x0": written[0]}, [Here("x0" if pen.chance(2) else "input", shapes[0])]
    nest = pen.whole(0, 3)
    if nest == 2:
        inner = {f"k{n}": w for n, w in enumerate(written)}
        return {"x0": inner}, [Here(f"x0.k{n}", s, False) for n, s in enumerate(shapes)]
    if nest == 3:
        lists = [["B", *shape] for shape in shapes]
        return {"x0": lists}, [Here(f"x0.{n}", s, False) for n, s in enumerate(shapes)]
    return {f"x{n}": w for n, w in enumerate(written)}, [Here(f"x{n}", s, False) for n, s in enumerate(shapes)]


def _vector(pen: Pen, graph: Body, here: Here) -> Here:
    return here if len(here.shape) == 1 else put(pen, graph, here, "global_avg_pool", _pooled(here.shape))


def _pooled(shape: Shape) -> Shape:
    return shape[:1] if len(shape) == 3 else shape[-1:]


def _joined(pen: Pen, graph: Body, one: Here, two: Here) -> Here:
    """Two values of any shapes as one vector."""
    ends = [_vector(pen, graph, Here(v.ref, v.shape, False)) for v in (one, two)]
    width = ends[0].shape[0] + ends[1].shape[0]
    return put(pen, graph, ends[1], {"op": "concat", "dim": -1}, (width,), from_=[e.ref for e in ends])


def _trained(pen: Pen, graph: Body, inputs: Body, ends: list[Here]) -> Body:
    """Adds what there is in one mode alone; the outputs that it makes, as written."""
    end = ends[-1]
    if pen.chance(2):
        inputs["y"] = {"shape": ["B", *end.shape], "when": "train"}
        noisy = put(pen, graph, end, "add", end.shape, from_=[end.ref, "y"])
        found = put(pen, graph, noisy, "switch", end.shape, from_={"train": noisy.ref, "eval": end.ref})
        ends[-1] = Here(found.ref, found.shape, False)
        return {}
    logits = _vector(pen, graph, end)
    inputs["y"] = {"shape": ["B"], "dtype": "int64", "when": "train"}
    wide = put(pen, graph, logits, {"op": "linear", "out": 3}, (3,), from_=logits.ref)
    loss = put(pen, graph, wide, "cross_entropy", (), from_={"value": wide.ref, "target": "y"})
    return {"loss": {"from": loss.ref, "when": "train"}}


def _read(written: Any, top: bool = False) -> set[str]:
    """The steps that `from` names anywhere in here, and at the top those that are read by what follows them."""
    if isinstance(written, list):
        return set().union(*(_read(w) for w in written))
    if not isinstance(written, dict):
        return set()
    said = written.get("from", ())
    names = [said] if isinstance(said, str) else list(said.values() if isinstance(said, dict) else said)
    inner = [w for key, w in written.items() if key != "body" or "repeat" not in written]  # it may be no times
    found = {name.split(".")[0] for name in names}.union(*(_read(w) for w in inner))
    steps = list(written.items()) if top else []
    followed = {a for (a, _), (_, step) in pairwise(steps) if not isinstance(step, dict) or "from" not in step}
    return found | followed


def _outputs(pen: Pen, graph: Body, ends: list[Here], only: Body) -> Any:
    refs = list(dict.fromkeys(e.ref for e in ends))
    last = list(graph)[-1]
    if len(refs) == 1 and refs[0] == last and not only and pen.chance(2):
        return pen.one(None, refs[0])
    form = pen.whole(0, 3)
    if form == 2:
        return {"many": refs, **only}
    if form == 3:
        return {"many": {f"n{k}": ref for k, ref in enumerate(refs)}, **only}
    return {f"y{k}": ref for k, ref in enumerate(refs)} | only
