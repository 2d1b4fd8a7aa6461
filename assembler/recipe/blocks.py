"""What a block takes: parameters and inputs."""

from __future__ import annotations

from collections.abc import Iterator

from assembler.errors import Problem, near
from assembler.recipe.edits import graph_text, text_inputs
from assembler.recipe.paths import STEP_KEYS
from assembler.recipe.values import Map, Seq, plain


def unknown_parameters(name: str, block: Map, step: Map) -> Iterator[Problem]:
    """What a call of a block gives that the block does not take."""
    sections = (block.get("params"), block.get("body"))
    if graph_text(block):
        for key in step.keys():
            if key not in STEP_KEYS:
                hint = f"changes to the model stand in the block: {name}: {{extends: ..., edits: {{{key}: ...}}}}"
                yield Problem(f"block '{name}' is a model and has no parameters", step.key_span(key), hint=hint)
        return
    known = [key for section in sections if isinstance(section, Map) for key in section.keys()]
    for key in step.keys():
        if key not in STEP_KEYS and key not in known:
            hint = near(key, known) or (f"it has {', '.join(known)}" if known else "it has none")
            yield Problem(f"block '{name}' has no parameter '{key}'", step.key_span(key), hint=hint)


def inputs_of(block: Map) -> tuple[str, ...]:
    """The names of what enters a block, where it names them."""
    if text := graph_text(block):
        return text_inputs(text)
    inputs = block.get("inputs")
    return tuple(str(plain(i)) for i in inputs) if isinstance(inputs, Seq) else ()
