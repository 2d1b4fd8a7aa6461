"""A `loop` step as a Python `for`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from assembler.compile.source.names import commented
from assembler.compile.source.place import Place

if TYPE_CHECKING:
    from assembler.compile.source.forward import Forward


def loop(forward: Forward, place: Place, i: str, indent: str) -> Iterator[str]:
    """The lines of a `loop`: what is carried, the body, and what is collected."""
    node, body = place.node(i), place.bodies[i]
    carry, collect = (tuple(node.arg(key) or ()) for key in ("carry", "collect"))
    outer = {port: forward.values[place][s] for port, s in node.inputs}
    inner = forward.values[body] = dict(outer)
    held = {name: forward.names.new(name, f"{i}_{name}") for name in carry}
    kept = {name: forward.names.new(f"{name}s", f"{i}_{name}s") for name in collect}
    if carry:
        yield f"{indent}{', '.join(held.values())} = {', '.join(outer[name] for name in carry)}"
    yield from (f"{indent}{name} = []" for name in kept.values())
    inner |= held
    yield from _head(forward, place, i, outer, indent)
    yield from forward.steps(body, tuple(body.graph.nodes), "", f"{indent}    ")
    ends = {name: inner[end] for name, end in body.graph.outputs}
    yield from (f"{indent}    {name}.append({ends[end]})" for end, name in kept.items())
    if carry:
        yield f"{indent}    {', '.join(held.values())} = {', '.join(ends[name] for name in carry)}"
    yield from _results(forward, place, i, [*held.values()], kept, indent)


def _head(forward: Forward, place: Place, i: str, outer: dict[str, str], indent: str) -> Iterator[str]:
    """The `for` with the lines that take the elements of what it goes over."""
    node, body = place.node(i), place.bodies[i]
    scan: Sequence[str] = tuple(node.arg("scan") or ())
    index, times = node.arg("index") or "", node.arg("times")
    inner = forward.values[body]
    n = forward.names.new("n", f"{i}_n") if scan or index else "_"
    leaf = forward.made.writer(forward.address(place, i), forward=True)
    yield f"{indent}for {n} in range({leaf(times, 'times') if times else f'{outer[scan[0]]}.shape[1]'}):"
    for name in scan:
        inner[name] = forward.names.new(name, f"{name}_n", f"{i}_{name}")
        shape = body.types[name]
        said = forward.shapes.value(body, name) if len(forward.made.units) == 1 else ""
        yield commented(f"{indent}    {inner[name]} = {outer[name]}[:, {n}]", said if shape.shape else "")
    if index:
        inner[index] = forward.names.new(index, f"{i}_{index}")
        like = outer[scan[0]] if scan else next(iter(outer.values()))
        yield f"{indent}    {inner[index]} = torch.full((), {n}, device={like}.device)"


def _results(
    forward: Forward, place: Place, i: str, held: list[str], kept: dict[str, str], indent: str
) -> Iterator[str]:
    """What the loop leaves, under the ids of its outputs."""
    items = place.items.get(i, {})
    names = place.outputs(i) or ()
    values = forward.values[place]
    texts = list(held)
    for name, listed in kept.items():
        texts.append(forward.names.new(items.get(name, i if not held else name), f"{i}_{name}"))
        yield f"{indent}{texts[-1]} = torch.stack({listed}, 1)"
    values[i] = texts[0]
    values |= {items[name]: text for name, text in zip(names, texts, strict=True) if name in items}
