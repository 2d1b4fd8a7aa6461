"""`assembler import`: a module from elsewhere as a graph with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.values import mapping
from assembler.errors import InputError
from assembler.wiring.edits import SIZED

if TYPE_CHECKING:
    from assembler.importing import Imported

Source = Annotated[str, typer.Argument(metavar="FILE.py:FUNCTION|hf:MODEL", help="What makes the module.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=SHAPE", help="An input, e.g. image=[B,3,32,32]. Repeatable."),
]
Opaque = Annotated[
    list[str] | None,
    typer.Option("--opaque", metavar="PATH", help="A part to keep as it is, or auto. Repeatable."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder to write to.")]


Free = Annotated[
    list[str] | None,
    typer.Option("--free", metavar="INPUT.AXIS", help="Leave the size of an axis free, e.g. input_ids.1. Repeatable."),
]


def import_(source: Source, out: Out, input: Inputs = None, opaque: Opaque = None, free: Free = None) -> dict[str, Any]:
    """Bring a model in: trace a torch.nn.Module, check the graph against it, write both.

    The Python file that is named is run: its function returns the module, or the module and example inputs. A model of
    transformers is a folder with a config.json or a name of the hub. DIR gets graph.txt, model.safetensors and
    config.json, and with opaque parts opaque.py, a plug-in that runs FILE.py again where it is named.

    The graph takes any batch, and other sizes where it is the same graph for them. Any other axis has the example's
    size, unless --free leaves it open: then the graph is compared with the module at other sizes as well.

    \b
        assembler import my_models.py:make --input "image=[B,3,32,32]" --out my/net
        assembler import hf:openai-community/gpt2 --out my/gpt2
        assembler import hf:google-bert/bert-base-uncased --free input_ids.1 --out my/bert
        assembler import my_models.py:make --input "ids={shape: [B,16], dtype: int64}" --opaque auto --out my/net
    """
    shapes = _shapes(input or [])
    from assembler.importing import from_module
    from assembler.importing.folder import KEPT, save
    from assembler.importing.sources import example_of, module_of
    from assembler.infer.cost import total

    module, example = module_of(source)
    example = example_of(shapes) if shapes else example
    if example is None:
        raise InputError(f"{source} brings no example inputs", hint='for instance --input "image=[B,3,32,32]"')
    found = from_module(module, example, opaque=opaque or [], free=free or [])
    files = save(found, out, source)
    cost = total(found.graph)
    for path in found.opaque:
        why = found.reasons.get(path, "")
        say.line(f"opaque       {path}{'; ' if why else ''}{why}")
    if found.opaque:
        say.line(f"needs code   name it where the model is used: --plugin {out / KEPT}")
    say.line(f"steps        {len(found.graph)}")
    say.line(f"params       {cost.params:,}")
    say.line(f"FLOPs        {cost.flops:,}")
    say.line(f"sizes        {_sizes(found)}")
    for name, checked in found.checked.items():
        say.line(f"free         {name}; compared at {', '.join(map(str, checked))}")
    say.line(f"difference   {found.difference:.1e} from the module, on the example inputs")
    say.line(f"dtype        {str(found.dtype).removeprefix('torch.')}")
    say.line(f"training     {_training(found)}")
    say.line(f"fingerprint  {found.fingerprint}")
    for file in files:
        say.line(f"wrote {file}")
    told = {"steps": len(found.graph), "params": cost.params, "flops": cost.flops, "difference": found.difference}
    return {
        **told,
        "untrained": found.untrained,
        "fingerprint": found.fingerprint,
        "free": dict(found.checked),
        "opaque": list(found.opaque),
        "files": [str(f) for f in files],
    }


def _sizes(found: Imported) -> str:
    """Which axes of the inputs have to have the example's size."""
    shapes = {str(n.arg("name")): n.arg("shape") for n in found.graph.nodes.values() if n.op == SIZED}
    fixed = [f"{name}.{axis} is {n}" for name, shape in shapes.items() for axis, n in enumerate(shape) if n >= 0]
    return f"{', '.join(fixed)}; --free leaves an axis open" if fixed else "any that its layers take"


def _training(found: Imported) -> str:
    """What of the module's training the graph has."""
    if found.untrained:
        return f"only as in evaluation, what the module does in training alone is lost: {found.untrained}"
    random = sum("drop" in node.op or bool(node.arg("dropout")) for node in found.graph.nodes.values())
    return f"as the module's own; {random} steps drop something at random"


def _shapes(given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, sign, shape = text.partition("=")
        if not sign:
            raise InputError(f"--input takes NAME=SHAPE, not '{text}'", hint='for instance --input "image=[B,3,32,32]"')
        found |= mapping(f"{{{name}: {shape}}}", "--input")
    return found
