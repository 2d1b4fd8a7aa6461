"""`assembler ops`: the steps that a recipe may use."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from assembler import registry
from assembler.cli import say
from assembler.cli.verbs.ls import sentence
from assembler.errors import AssemblerError, InputError
from assembler.registry import Entry, Param

Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Show this op alone, or all that a word is about.", show_default=False),
]


def ops(name: Name = None) -> dict[str, Any]:
    """List the ops, those that a word is about, or show one with its inputs and arguments.

    \b
        assembler ops
        assembler ops random
        assembler ops conv2d
    """
    return _one(name) if name else _all()


def _all() -> dict[str, Any]:
    ours = registry.names("op")
    torch = sorted(set(registry.names("op", torch=True)) - set(ours))
    entries = [registry.lookup("op", name) for name in ours]
    _table(entries)
    say.line(f"and the classes of torch.nn, {len(torch)} of them, also under their own names (Conv2d):")
    say.show("  " + ", ".join(torch))
    return {"ops": [_data(entry) for entry in entries], "torch": torch}


def _table(entries: list[Entry]) -> None:
    table = say.table("op", "arguments", "about", left=3)
    for entry in entries:
        say.row(table, entry.name, ", ".join(map(_written, _own(entry))), sentence(entry.doc))
    say.show(table)


def _about(word: str) -> list[Entry]:
    """The ops whose name has a word in it, or whose first sentence."""
    entries = [registry.lookup("op", name) for name in registry.names("op")]
    return [e for e in entries if word.lower() in f"{e.name} {sentence(e.doc)}".lower()]


_LANGUAGE = {
    "residual": "a word of the language. The steps under body:, one after another, and their sum with what enters; "
    "shortcut: gives steps for the other arm. {op: residual, body: {norm: layer_norm, ffn: mlp}}",
    "branches": "a word of the language. Every step under body: reads what enters, and merge: (add, concat, ...) joins "
    "them. {op: branches, merge: add, body: {a: relu, b: tanh}}",
}
"""Ops that are no registered things."""


def _one(name: str) -> dict[str, Any]:
    if name in _LANGUAGE:
        say.line(f"{name}: {_LANGUAGE[name]}")
        return {"name": name, "doc": _LANGUAGE[name]}
    try:
        entry = registry.lookup("op", name)
    except AssemblerError as error:
        if found := _about(name):
            _table(found)
            return {"ops": [_data(entry) for entry in found]}
        raise InputError(error.problems) from None
    say.line(f"{entry.name}({', '.join(map(_written, _own(entry)))})")
    say.line(f"  inputs   {_inputs(entry)}")
    if entry.makes:
        say.line(f"  outputs  {entry.makes}; the first is the step itself, another is read as STEP.NAME")
    for param in _own(entry):
        needed = "required" if param.required else f"default {_default(param)}"
        say.line(f"  {param.name:<22} {param.type.describe()}; {needed}")
    inferred = [p.name for p in entry.params if p.inferred]
    if inferred:
        say.line(f"  inferred {', '.join(inferred)}")
    if entry.doc:
        say.line()
        say.line(entry.doc)
    return _data(entry)


def _own(entry: Entry) -> list[Param]:
    return [p for p in entry.params if not p.inferred]


def _inputs(entry: Entry) -> str:
    names = list(entry.inputs or ("input",))
    if entry.variadic:
        return "any number"
    needed = len(names) - entry.optional
    return ", ".join([*names[:needed], *(f"[{name}]" for name in names[needed:])])


def _written(param: Param) -> str:
    return param.name if param.required else f"{param.name}={_default(param)}"


def _default(param: Param) -> str:
    words = {None: "null", True: "true", False: "false"}
    plain = param.default is None or isinstance(param.default, bool)
    return words[param.default] if plain else str(param.default)


def _data(entry: Entry) -> dict[str, Any]:
    arguments = [
        {"name": p.name, "type": p.type.describe(), "required": p.required, "inferred": p.inferred}
        | ({} if p.required or p.inferred else {"default": p.default})
        for p in entry.params
    ]
    inputs = list(entry.inputs or ("input",))
    found = {"name": entry.name, "inputs": inputs, "variadic": entry.variadic, "arguments": arguments, "doc": entry.doc}
    return found | ({"outputs": entry.makes} if entry.makes else {})
