"""Draws single steps that fit a tracked shape; shapes are those of one sample: (D,), (N, D) or (C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

Shape = tuple[int, ...]
Body = dict[str, Any]
ACTS = ("relu", "gelu", "tanh", "sigmoid", "silu", "identity", "softplus", "LeakyReLU")


class Here(NamedTuple):
    """The value that the next step reads: how `from` names it, its shape, and whether it is read without `from`."""

    ref: str
    shape: Shape
    implied: bool = True


class Twin(NamedTuple):
    """A step written before, whose weights another may use: its name, what it is, the shapes it takes and gives."""

    ref: str
    written: Body
    shape: Shape
    made: Shape


class Scope(NamedTuple):
    """What a body can read and share besides what enters it."""

    values: tuple[Here, ...] = ()
    twins: tuple[Twin, ...] = ()


@dataclass
class Pen:
    """The state of a drawing: names given so far, vars, blocks, how many more steps there may be, and where it stands.

    It may be in something `frozen`, and in so many `bodies` of ops. `twins` are those of the steps drawn last.
    """

    draw: st.DrawFn
    left: int
    names: int = 0
    frozen: bool = False
    bodies: int = 0
    twins: tuple[Twin, ...] = ()
    tree_vars: dict[str, Any] = field(default_factory=dict)
    blocks: dict[str, Any] = field(default_factory=dict)

    def one(self, *choices: Any) -> Any:
        """One of these."""
        return self.draw(st.sampled_from(choices))

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return self.draw(st.integers(low, high))

    def chance(self, of: int = 4) -> bool:
        """True once in so many draws; False in the simplest example."""
        return self.draw(st.integers(0, of - 1)) == of - 1

    def name(self) -> str:
        """A new name for a step."""
        self.names += 1
        self.left -= 1
        return f"s{self.names}"

    def number(self, value: int) -> Any:
        """`value` written as it is, as a var, or as an expression."""
        kind = self.whole(0, 5)
        if kind < 3:
            return value
        if kind == 3:
            return f"={value + 2} - 2"
        name = f"v{len(self.tree_vars)}"
        self.tree_vars[name] = value if kind == 4 else f"=max({value}, 1)"
        return f"={name}" if kind == 4 else f"={name} * 1"


def put(pen: Pen, body: Body, here: Here, step: Any, shape: Shape, **source: Any) -> Here:
    """Append a step that reads `here`, or what `source` (`from_=`) says; where its value is."""
    name = pen.name()
    written = deepcopy(step)
    if "from_" in source or not here.implied or pen.chance(6):
        written = {"op": written} if isinstance(written, str) else written
        written = {**written, "from": deepcopy(source.get("from_", here.ref))}
    alone = isinstance(written, dict) and ("body" not in written or written.get("op") in ("loop", "experts"))
    free = alone and not pen.frozen and "'share'" not in str(written) and "switch" not in str(written)
    if free and pen.chance(12):
        written["frozen"] = True
    body[name] = written
    return Here(name, shape)


def act(pen: Pen, body: Body, here: Here, scope: Scope) -> Here:
    """An op that changes no shape and has no weights."""
    others = ({"op": "scale", "factor": 0.5, "offset": 0.1}, {"op": "scale", "factor": "=1 + 0.5"}, "normalize")
    others += ({"op": "clamp", "low": -0.5}, {"op": "softmax", "dim": -1}, {"op": "dropout", "p": 0.0}, "abs")
    others += ({"op": "drop_path", "p": "=0.0 * 2"}, {"op": "cumsum", "dim": 1}, {"op": "flip", "dims": [1]})
    return put(pen, body, here, pen.one(*ACTS, *others), here.shape)


def widen(pen: Pen, body: Body, here: Here, scope: Scope) -> Here:
    """A linear layer, or a convolution that keeps places, to a drawn width."""
    return to_width(pen, body, here, pen.whole(1, 5))


def to_width(pen: Pen, body: Body, here: Here, width: int) -> Here:
    """The same to this width."""
    out = pen.number(width)
    if len(here.shape) == 3:
        size = pen.one(1, 3)
        step = {"op": "conv2d", "out": out, "kernel_size": size} | ({"padding": 1} if size == 3 else {})
        return put(pen, body, here, step, (width, *here.shape[1:]))
    step = {"op": "linear", "out": out} if pen.chance(2) else {"op": "linear", "out_features": out, "bias": False}
    return put(pen, body, here, step, (*here.shape[:-1], width))


def weigh(pen: Pen, body: Body, here: Here, scope: Scope) -> Here:
    """A step with weights that keeps the shape."""
    if len(here.shape) == 3:
        width = here.shape[0]
        groups = pen.one(*[n for n in range(1, width + 1) if width % n == 0])
        steps: tuple[Any, ...] = ("batch_norm2d", "layer_norm2d", {"op": "group_norm", "num_groups": groups})
        steps += ({"op": "conv_mlp", "ratio": 2}, {"op": "dwconv", "kernel_size": 3}, "pool", "learned_position")
        steps += ({"op": "layer_scale", "init": 0.3}, "conv_bn_act")
        return put(pen, body, here, pen.one(*steps), here.shape)
    steps = ("layer_norm", {"op": "layer_scale", "init": 0.3}, {"op": "mlp", "ratio": 2}, "learned_position")
    steps += ({"op": "gated_mlp", "ratio": 3, "activation": "gelu"}, {"op": "mlp", "ratio": 1.5, "activation": "relu"})
    if len(here.shape) == 2:
        heads = pen.one(*[n for n in (1, 2) if here.shape[1] % n == 0])
        steps += ({"op": "attention", "num_heads": heads, "causal": pen.one(False, True)},)
    return put(pen, body, here, pen.one(*steps), here.shape)


def reshape(pen: Pen, body: Body, here: Here, scope: Scope) -> Here:
    """A step that makes other places, or none."""
    shape = here.shape
    if len(shape) == 3:
        steps = [("global_avg_pool", shape[:1]), ("map_to_tokens", (shape[1] * shape[2], shape[0]))]
        steps += [({"op": "transpose", "dim0": 2, "dim1": 3}, (shape[0], shape[2], shape[1]))]
        if min(shape[1:]) > 1:
            half = (shape[0], shape[1] // 2, shape[2] // 2)
            steps += [({"op": "max_pool2d", "kernel_size": 2}, half), ({"op": "AvgPool2d", "kernel_size": 2}, half)]
    elif len(shape) == 2:
        steps = [("global_avg_pool", shape[1:]), ("transpose", shape[::-1]), ({"op": "mean", "dim": 1}, shape[1:])]
        steps += [("class_token", (shape[0] + 1, shape[1])), ({"op": "flatten"}, (shape[0] * shape[1],))]
        steps += [({"op": "permute", "dims": [0, 2, 1]}, shape[::-1])]
    else:
        steps = [({"op": "reshape", "shape": [1, -1]}, (1, *shape)), ({"op": "unflatten", "dim": 1,
                  "unflattened_size": [shape[0], 1]}, (*shape, 1))]  # fmt: skip
    step, made = pen.one(*steps)
    return put(pen, body, here, step, made)


def several(pen: Pen, body: Body, here: Here, scope: Scope) -> Here:
    """An op of several outputs, of which some are read."""
    shape, width = here.shape, here.shape[-1]
    if len(shape) == 2 and pen.chance(3):
        found = put(pen, body, here, {"op": "multihead_attention", "num_heads": 1, "batch_first": True}, shape,
                    from_=[here.ref] * 3)  # fmt: skip
        scores = Here(f"{found.ref}.weights", (shape[0], shape[0]), False)
        return found if pen.chance(3) else act(pen, body, scores, scope)
    if len(shape) == 2 and pen.chance(2):
        out = pen.whole(1, 4)
        cell = pen.one("lstm", "gru", "rnn")
        found = put(pen, body, here, {"op": cell, "out": pen.number(out), "batch_first": True}, (shape[0], out))
        if pen.chance(2):
            side = pen.one("hidden", "cell", "1") if cell == "lstm" else pen.one("hidden", "1")
            turned = {"op": "permute", "dims": [1, 0, 2]}
            return put(pen, body, found, turned, (1, out), from_=f"{found.ref}.{side}")
        return found
    if width % 2 == 0 and pen.chance(2):
        halves = (*shape[:-1], width // 2)
        found = put(pen, body, here, pen.one("chunk", {"op": "split", "sizes": [width // 2] * 2}), halves)
        ends = [found.ref if pen.chance() else f"{found.ref}.0", f"{found.ref}.1"]
        return put(pen, body, found, pen.one("add", "mul", "sub"), halves, from_=ends)
    k = pen.whole(1, width)
    found = put(pen, body, here, {"op": "topk", "k": k}, (*shape[:-1], k))
    if pen.chance(2):
        return put(pen, body, found, pen.one("add", "mul"), found.shape, from_=[found.ref, f"{found.ref}.indices"])
    return found


def skip(pen: Pen, body: Body, here: Here, scope: Scope) -> Here:
    """Joined with a value from before."""
    fits = [v for v in scope.values if v.shape[:-1] == here.shape[:-1] and len(v.shape) < 3]
    fits += [v for v in scope.values if len(v.shape) == 3 == len(here.shape) and v.shape[1:] == here.shape[1:]]
    if not fits:
        return act(pen, body, here, scope)
    other = pen.one(*fits)
    if other.shape == here.shape and pen.chance(2):
        ends = pen.one([here.ref, other.ref], [other.ref, here.ref], [here.ref, other.ref, other.ref])
        return put(pen, body, here, pen.one("add", "mul"), here.shape, from_=ends)
    axis = 0 if len(here.shape) == 3 else -1
    made = list(here.shape)
    made[axis] += other.shape[axis]
    step = {"op": "concat"} if axis == 0 else {"op": "concat", "dim": -1}
    return put(pen, body, here, step, tuple(made), from_=[here.ref, other.ref])


def share(pen: Pen, body: Body, here: Here, scope: Scope) -> Here:
    """A step with the weights of one before it: all of them, or one parameter."""
    fits = [] if pen.frozen else [t for t in scope.twins if t.shape == here.shape and _keeps(t)]
    linear = [t for t in scope.twins if t.written.get("op") == "linear" and t.made == here.shape and _keeps(t)]
    if linear and not pen.frozen and len(here.shape) < 3 and (not fits or pen.chance(3)):
        twin = pen.one(*linear)
        tied = {"op": "linear", "out": twin.shape[-1], "bias": False, "share": {"weight": f"{twin.ref}.weight.T"}}
        return put(pen, body, here, tied, twin.shape)
    if not fits:
        return widen(pen, body, here, scope)
    twin = pen.one(*fits)
    if twin.written.get("op") == "linear" and pen.chance(2):
        step = {**twin.written, "share": {"weight": f"{twin.ref}.weight"}}
    else:
        step = {**twin.written, "share": twin.ref}
        if twin.shape == twin.made and not {"for", "repeat", "share"} & set(twin.written) and pen.chance(3):
            step["repeat"] = 2
    return put(pen, body, here, step, twin.made)


def _keeps(twin: Twin) -> bool:
    """Whether a step keeps places."""
    places = slice(1, None) if len(twin.shape) == 3 else slice(None, -1)
    return len(twin.shape) == len(twin.made) and twin.shape[places] == twin.made[places]


KEEPING: tuple[Callable[..., Here], ...] = (act, widen, weigh, skip, share, share)
"""Steps that keep places: N, or H and W."""
PLAIN = (*KEEPING, several, several, reshape)
