"""A `gradient` step as Python: its body under a `with`, then the gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from assembler.compile.source.place import Place
from assembler.modules.gradient import followed, following, gradients

if TYPE_CHECKING:
    from assembler.compile.source.forward import Forward


def gradient(forward: Forward, place: Place, i: str, indent: str) -> Iterator[str]:
    """The lines of a `gradient`: what enters the body, the body, and the gradients with what is collected."""
    node, body = place.node(i), place.bodies[i]
    call = {part: forward.forms.embedding.add(part) for part in (following, followed, gradients)}
    by, collect = (tuple(node.arg(key) or ()) for key in ("by", "collect"))
    outer = {port: forward.values[place][s] for port, s in node.inputs}
    inner = forward.values[body] = {name: forward.names.new(f"{name}_in", f"{i}_{name}") for name in outer}
    keep = forward.names.new("keep", f"{i}_keep")
    yield f"{indent}{keep} = torch.is_grad_enabled()"
    yield f"{indent}with {call[following]}():"
    for name, value in outer.items():
        yield f"{indent}    {inner[name]} = {call[followed]}({value}, {name in by}, {keep})"
    yield from forward.steps(body, tuple(body.graph.nodes), "", f"{indent}    ")
    entered = [inner[name] for name in by]
    ends = {name: inner[end] for name, end in body.graph.outputs}
    of = ends[str(node.arg("of") or body.graph.outputs[0][0])]
    beside = ", ".join(ends[name] for name in collect)
    made = _names(forward, place, i, (*by, *collect))
    text = f"{call[gradients]}({of}, [{', '.join(entered)}], [{beside}], {keep})"
    yield f"{indent}    {', '.join(made)}{',' * (len(made) == 1)} = {text}"


def _names(forward: Forward, place: Place, i: str, outputs: tuple[str, ...]) -> list[str]:
    """Variables for what the step makes, entered under the ids of its outputs."""
    items, values = place.items.get(i, {}), forward.values[place]
    texts = []
    for n, name in enumerate(outputs):
        texts.append(forward.names.new(items.get(name, i if n == 0 else name).split(".")[-1], f"{i}_{name}"))
        values |= {items[name]: texts[-1]} if name in items else {}
    values[i] = texts[0]
    return texts
