"""A `loop` step as a Python `for`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from assembler.compile.source.names import commented
from assembler.compile.source.place import Place
from assembler.modules.loop import is_over, kept

if TYPE_CHECKING:
    from assembler.compile.source.forward import Forward


def loop(forward: Forward, place: Place, i: str, indent: str) -> Iterator[str]:
    """The lines of a `loop`: what is carried, the body, and what is collected."""
    node, body = place.node(i), place.bodies[i]
    carry, collect = (tuple(node.arg(key) or ()) for key in ("carry", "collect"))
    outer = {port: forward.values[place][s] for port, s in node.inputs}
    inner = forward.values[body] = dict(outer)
    held = {name: forward.names.new(name, f"{i}_{name}") for name in carry}
    collected = {name: forward.names.new(f"{name}s", f"{i}_{name}s") for name in collect}
    if carry:
        yield f"{indent}{', '.join(held.values())} = {', '.join(outer[name] for name in carry)}"
    yield from (f"{indent}{name} = []" for name in collected.values())
    inner |= held
    done = forward.names.new("done", f"{i}_done") if node.arg("until") else ""
    if done:
        yield f"{indent}{done} = torch.zeros((), dtype=torch.bool, device={next(iter(outer.values()))}.device)"
    yield from _head(forward, place, i, outer, indent)
    yield from forward.steps(body, tuple(body.graph.nodes), "", f"{indent}    ")
    ends = {name: inner[end] for name, end in body.graph.outputs}
    yield from _ended(forward, held, collected, ends, done, f"{indent}    ")
    if done:
        stop = ends[str(node.arg("until"))]
        yield f"{indent}    {done} = {done} | {stop}"
        yield f"{indent}    if {forward.forms.embedding.add(is_over)}({done}):"
        yield f"{indent}        break"
        times = _times(forward, place, i, outer)
        yield from (f"{indent}{rows} += {rows}[-1:] * ({times} - len({rows}))" for rows in collected.values())
    yield from _results(forward, place, i, [*held.values()], collected, indent)


def _ended(
    forward: Forward, held: dict[str, str], collected: dict[str, str], ends: dict[str, str], done: str, indent: str
) -> Iterator[str]:
    """The lines that end an iteration; samples that are done keep what they have."""
    call = forward.forms.embedding.add(kept) if done else ""
    for name, rows in collected.items():
        made = f"{call}({done}, {rows}[-1], {ends[name]}) if {rows} else {ends[name]}" if done else ends[name]
        yield f"{indent}{rows}.append({made})"
    if held:
        made = ", ".join(f"{call}({done}, {x}, {ends[n]})" if done else ends[n] for n, x in held.items())
        yield f"{indent}{', '.join(held.values())} = {made}"


def _times(forward: Forward, place: Place, i: str, outer: dict[str, str]) -> str:
    """How often, as the file says it."""
    node = place.node(i)
    leaf = forward.made.writer(forward.address(place, i), forward=True)
    times = node.arg("times")
    return leaf(times, "times") if times else f"{outer[node.arg('scan')[0]]}.shape[1]"


def _head(forward: Forward, place: Place, i: str, outer: dict[str, str], indent: str) -> Iterator[str]:
    """The `for` with the lines that take the elements of what it goes over."""
    node, body = place.node(i), place.bodies[i]
    scan: Sequence[str] = tuple(node.arg("scan") or ())
    index = node.arg("index") or ""
    inner = forward.values[body]
    n = forward.names.new("n", f"{i}_n") if scan or index else "_"
    yield f"{indent}for {n} in range({_times(forward, place, i, outer)}):"
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
    forward: Forward, place: Place, i: str, held: list[str], collected: dict[str, str], indent: str
) -> Iterator[str]:
    """What the loop leaves, under the ids of its outputs."""
    items = place.items.get(i, {})
    names = place.outputs(i) or ()
    values = forward.values[place]
    texts = list(held)
    for name, listed in collected.items():
        texts.append(forward.names.new(items.get(name, i if not held else name), f"{i}_{name}"))
        yield f"{indent}{texts[-1]} = torch.stack({listed}, 1)"
    values[i] = texts[0]
    values |= {items[name]: text for name, text in zip(names, texts, strict=True) if name in items}
