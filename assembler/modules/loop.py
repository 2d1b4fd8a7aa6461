"""A sub-graph that is called again and again with shared weights: over a sequence, or a number of times."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from assembler.errors import ShapeError
from assembler.graph.core import TensorType
from assembler.modules.nested import Nested
from assembler.registry import Body, op


@op("loop", outputs_from=("carry", "collect"), provides=("index",), asks=("until",), lends=True)
class Loop(Nested):
    """Calls its body once for every element of a sequence, or `times` times, feeding back what it carries.

    Inputs named in `scan`, [B, N, ...], enter the body one element at a time, [B, ...]; those in `carry` enter as they
    are the first time and are the body's outputs of the same names from then on; all others enter every time as they
    are. `index` names the number of the iteration in the body (int64, []). It makes the last values of `carry`, then
    the body's outputs named in `collect` of all iterations, [B, N, ...]. The weights are one and the same in all
    iterations. `until` names an output of the body, bool, one for each sample [B] or one for all []: where it has been
    true, what is carried and collected stays as it is then, and where it has been for all, no iteration follows; code
    that is compiled or exported goes through all of them, to the same values.

    Raises ShapeError where a carried value changes its shape, what it goes over differs in length, or there is nothing
    that says how often.
    """

    def __init__(
        self,
        body: Body,
        times: int | None = None,
        carry: tuple[str, ...] = (),
        scan: tuple[str, ...] = (),
        collect: tuple[str, ...] = (),
        index: str = "",
        until: str = "",
    ) -> None:
        super().__init__()
        if times is None and not scan:
            raise ShapeError("loop needs 'times', or 'scan' with what it goes over")
        if not carry and not collect:
            raise ShapeError("loop makes nothing: name outputs of its body in 'carry' or 'collect'")
        if twice := [name for name in collect if name in carry]:
            hint = "collect the value under another name: the body can have two outputs of one step"
            raise ShapeError(f"loop would have two outputs called '{twice[0]}', carried and collected", hint=hint)
        types = dict(body.types)
        _check_read(scan, types, "goes over", "name it under 'from'")
        _check_read(carry, types, "carries", _BEGIN)
        _check_times(times, {name: types[name].shape for name in scan})
        for name in scan:
            shape = types[name].shape
            types[name] = TensorType((shape[0], *shape[2:]), types[name].dtype)
        if index:
            types[index] = TensorType((), "int64")
        made = body.made(types)
        for name in carry:
            if made[name].shape != types[name].shape:
                said = f"the carried '{name}' is {list(types[name].shape)} at first and {list(made[name].shape)} then"
                one = types[name].shape[1:] == made[name].shape[1:] and types[name].shape[:1] == (1,)
                raise ShapeError(said, hint=_EACH if one else "")
        if until:
            _check_until(until, made, (*carry, *collect))
        self.times = times
        self.carry, self.scan, self.collect, self.index, self.until = carry, scan, collect, index, until
        self.hold(body.build(types))

    def forward(self, **values: Tensor) -> tuple[Tensor, ...]:
        """The last values of what is carried, then all values of what is collected."""
        whole = {name: values.pop(name) for name in self.scan}
        times = self.times or whole[self.scan[0]].shape[1]
        made: dict[str, list[Tensor]] = {name: [] for name in self.collect}
        done: Tensor | None = None
        for n in range(times):
            given = values | {name: x.select(1, n) for name, x in whole.items()}
            if self.index:
                given[self.index] = torch.full((), n, device=next(iter({**whole, **values}.values())).device)
            found = self.body(**given)
            after = found if done is None else {name: kept(done, made[name][-1], found[name]) for name in made}
            for name, rows in made.items():
                rows.append(after[name])
            values |= {
                name: found[name] if done is None else kept(done, values[name], found[name]) for name in self.carry
            }
            if self.until:
                done = found[self.until] if done is None else done | found[self.until]
                if is_over(done):
                    break
        rows_of = (rows + rows[-1:] * (times - len(rows)) for rows in made.values())
        return *(values[name] for name in self.carry), *(torch.stack(rows, 1) for rows in rows_of)


_EACH = (
    "it begins as one row for all samples: {op: aten.expand_as, from: {self: row, other: ...}} gives each its own, "
    "and so does {op: parameter, shape: [16], init: zeros, frozen: true}"
)
_BEGIN = "name under 'from' what it begins as, such as {op: parameter, shape: [16], init: zeros, frozen: true}"


def kept(done: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The value before for the samples that are done, and the one after for all others."""
    return torch.where(done.reshape(done.shape + (1,) * (after.ndim - done.ndim)), before, after)


def is_over(done: Tensor) -> bool:
    """Whether all samples are done, as far as values are there to be looked at."""
    return not torch.compiler.is_compiling() and not done.is_meta and bool(done.all())


def _check_until(name: str, made: Mapping[str, TensorType], others: tuple[str, ...]) -> None:
    if name not in made:
        raise ShapeError(f"the body of loop has no output '{name}'", hint=f"it has {', '.join(made)}")
    kind = made[name]
    if kind.dtype != "bool" or len(kind.shape) > 1:
        said = f"'{name}' says which samples are done: it is bool, [B] or [], not {kind.dtype} {list(kind.shape)}"
        raise ShapeError(said, hint="compare with {op: lt}, and reduce with {op: all, dim: 1}")
    for other in others if kind.shape else ():
        if made[other].shape[:1] != kind.shape:
            raise ShapeError(f"'{name}' is {list(kind.shape)}, one for each sample, and '{other}' has none")


def _check_times(times: int | None, scanned: dict[str, tuple[int, ...]]) -> None:
    if times is not None and times < 1:
        raise ShapeError(f"'times' must be at least 1, not {times}")
    for name, shape in scanned.items():
        if len(shape) < 2:
            raise ShapeError(f"loop goes over axis 1 of '{name}', which is {list(shape)}")
    lengths = {name: shape[1] for name, shape in scanned.items()}
    if len(set(lengths.values())) > 1:
        said = " and ".join(f"'{name}' has {n}" for name, n in lengths.items())
        raise ShapeError(f"loop goes over several inputs side by side, and {said} elements")
    if times is not None and lengths and times > min(lengths.values()):
        raise ShapeError(f"'times' is {times}, and '{min(lengths)}' has {min(lengths.values())} elements")


def _check_read(names: tuple[str, ...], types: dict[str, TensorType], what: str, hint: str) -> None:
    for name in names:
        if name not in types:
            reads = ", ".join(types) or "nothing"
            raise ShapeError(f"loop {what} '{name}', which is not among what it reads: {reads}", hint=hint)
