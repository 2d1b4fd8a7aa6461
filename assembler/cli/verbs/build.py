"""`assembler build`: a recipe as a `torch.nn.Module`."""

from __future__ import annotations

from typing import Any

from assembler.cli import say
from assembler.cli.options import Out, Overrides, Recipe, Seed, Weights


def build(
    recipe: Recipe, override: Overrides = None, weights: Weights = None, out: Out = None, seed: Seed = 0
) -> dict[str, Any]:
    """Build a model's module, say what it costs, write it.

    Loading weights checks every name and shape; a recipe's `weights:` maps other names. --out writes
    model.safetensors with config.json, model.py and model.pt2.

    \b
        assembler build poolformer@s24 --out built/
        assembler build my/model.yaml -w model.safetensors
    """
    from assembler.recipe.document import load

    document = load(recipe, override or ())
    from assembler.infer.cost import total
    from assembler.pipeline.api import build as build_module
    from assembler.pipeline.exporting import export
    from assembler.pipeline.weights.loading import words

    module = build_module(document, seed=seed, weights=weights)
    graph = module.meta["graph"]
    cost = total(graph)
    say.line(f"params       {cost.params:,}")
    say.line(f"FLOPs        {cost.flops:,}")
    say.line(f"fingerprint  {graph.fingerprint}")
    fresh, unused = (module.meta.get(key, ()) for key in ("initialised", "unused"))
    if fresh or unused:
        say.line(f"weights      {words(len(module.state_dict()) - len(fresh), fresh, unused)}")
    unread = module.meta.get("unread", ())
    if unread:
        some = ", ".join(unread[:5]) + (", ..." if len(unread) > 5 else "")
        say.line(f"unread       {len(unread)} tensor{'s' * (len(unread) > 1)} of the weights: {some}")
    files = export(module, out, tell=say.line) if out else []
    for file in files:
        say.line(f"wrote {file}")
    told = {"recipe": document.name, "params": cost.params, "flops": cost.flops, "fingerprint": graph.fingerprint}
    return {**told, "files": [str(file) for file in files]}
