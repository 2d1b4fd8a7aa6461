"""What a container says that it gives out: names for values inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assembler.errors import near
from assembler.recipe.steps import Step
from assembler.recipe.values import Leaf
from assembler.wiring.names import Names

if TYPE_CHECKING:
    from assembler.wiring.builder import Builder


def given_out(builder: Builder, step: Step, inside: Names) -> list[tuple[str, str]]:
    """(name, id) of what a container gives out, the id "" where its output names nothing inside."""
    found = []
    for name, written in step.outputs:
        i = builder.value_at(str(written.value), inside)
        if i:
            _check_name(builder, step, name, i, written)
        else:
            _unknown(builder, step, name, written, inside)
        found.append((name, i))
    return found


def _unknown(builder: Builder, step: Step, name: str, written: Leaf, inside: Names) -> None:
    path, known = str(written.value), [*inside.all()]
    hint = near(path, known) or f"steps inside: {', '.join(list(dict.fromkeys(inside.paths))[:12])}"
    builder.note(f"output '{name}' of step '{step.name}' names '{path}', which is no step inside", written.span, hint)


def _check_name(builder: Builder, step: Step, name: str, i: str, written: Leaf) -> None:
    """An output may have the name of the step inside that it gives out, and of no other."""
    own = f"{step.path}.{name}"
    clash = step.kind == "chain" and any(one.path == own for one in step.body)
    if clash and builder.names.get(own, own) != i:
        said = f"output '{name}' of step '{step.name}' has the name of another step inside"
        builder.note(said, written.span, f"it gives out '{written.value}': choose another name for one of them")
