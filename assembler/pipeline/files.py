"""The run folder: every file appears whole or not at all, `summary.json` last but for the report that reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.graph.text import to_text
from assembler.infer.cost import total
from assembler.pipeline.checking.budgets import Which, tree_of
from assembler.pipeline.exporting import export, silent, write_text
from assembler.pipeline.jobs import model_of
from assembler.pipeline.search.candidates import recipe_of as candidate_of
from assembler.pipeline.search.rows import CANDIDATES
from assembler.pipeline.slots import written
from assembler.pipeline.state import ASSEMBLED as NAME
from assembler.pipeline.state import Run
from assembler.pipeline.summary import main_model
from assembler.pipeline.weights import pins
from assembler.pipeline.weights.beginning import places_of
from assembler.recipe.values import Map, marked
from assembler.recipe.write import to_yaml
from assembler.report.html import write_report
from assembler.train.data.core import fingerprint
from assembler.wiring.build import build

METRICS = "metrics.jsonl"


def write(folder: Path, run: Run, summary: Mapping[str, Any], tell: Callable[[str], None] = silent) -> None:
    """Write everything that a finished run leaves, and point `latest` at it; `tell` is that of `export`."""
    write_text(folder / "recipe.lock.yaml", to_yaml(lock(run, summary)))
    write_lines(folder / METRICS, _metrics(run))
    if run.parts:
        write_lines(folder / "parts.jsonl", _parts(run))
    if run.searches:
        write_lines(folder / CANDIDATES, _candidates(run))
    _export(folder, run, tell)
    write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_report(folder)
    point(folder)


def write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    write_text(file, "".join(json.dumps(row) + "\n" for row in rows))


def lock(run: Run, summary: Mapping[str, Any]) -> Map:
    """The resolved recipe: nothing left to other files, with the versions and the data that it was run with."""
    document = run.spec.document
    model = pins.relative(document.model, document.folder)
    tree = document.tree.drop("space", "set", "extends").set("model", model)
    resolved = {"versions": summary["versions"], "data": fingerprint(run.spec.data)}
    if own := {p.name: fingerprint(run.spec.purpose_of(p).data) for p in run.spec.phases if "data" in p.own}:
        resolved["phases"] = own
    if found := pins.digests(run.spec, places_of(run.spec)):
        resolved["weights"] = found
    locked = tree.set("lock", marked(resolved))
    assert isinstance(locked, Map)
    return locked


def _metrics(run: Run) -> Iterator[dict[str, Any]]:
    for made, found in run.results.items():
        if isinstance(found, Product) and METRICS in found.files:
            head = {"task": made.key, "phase": made.phase, "seed": made.seed, "label": made.name.split(" · ")[0]}
            for line in found.file(METRICS).read_text(encoding="utf-8").splitlines():
                yield {**head, **json.loads(line)}


def _parts(run: Run) -> Iterator[dict[str, Any]]:
    for seed, parts in run.parts.items():
        for (slot, i), made in parts.items():
            variant, found = run.variants[slot][i], run.results[made]
            cost = total(variant.graph)
            row = {"seed": seed, "slot": slot, "variant": variant.label, "key": made.key}
            row |= {"params": cost.params, "flops": cost.flops}
            if isinstance(found, Failure):
                yield {**row, "status": "failed", "reason": found.reason}
            else:
                scores = {k: found.result[k] for k in ("loss", "score", "train_flops")}
                yield {**row, **scores, "seconds": found.seconds, "status": "done", "reason": ""}


def _candidates(run: Run) -> Iterator[dict[str, Any]]:
    for seed, made in run.searches.items():
        for line in run.product(made).file(CANDIDATES).read_text(encoding="utf-8").splitlines():
            yield {"seed": seed, **json.loads(line)}


def _export(folder: Path, run: Run, tell: Callable[[str], None]) -> None:
    """The first seed's model in the formats asked for, with its recipe where it is still what one says."""
    made = next(iter(run.models[main_model(run)].values()))
    model = model_of(run.product(made))
    write_text(folder / "graph.txt", to_text(model.graph))
    module = lower(model.graph)
    load_there(module, model.weights)
    tree = recipe_of(run)
    if isinstance(tree.get("graph"), Map) and build(tree).fingerprint == model.graph.fingerprint:
        module.meta["recipe"] = tree
    export(module.eval(), folder, run.exports, tell)


def recipe_of(run: Run) -> Map:
    """The recipe of the model that a run is about, as the search and the phases made it but for rewrites."""
    name = main_model(run)
    for phase in reversed(run.spec.phases):
        if phase.name == name and (of := phase.options.get("of")):
            name = of if isinstance(of, str) else of[0]
    made = run.searches.get(run.seeds[0])
    if made is not None and run.winners and name in (NAME, made.phase):
        picks = {n: tuple(p) if isinstance(p, list) else p for n, p in run.product(made).result["choice"].items()}
        return candidate_of(run.spec.document.model, picks, run.spec.name)
    if made is not None and name == NAME:
        choice, slots = run.product(made).result["choice"], made.parameters["slots"]
        picks = {n: p for s, i in choice.items() for n, p in run.variants[s][slots[s][i]["variant"]].picks}
        return written(run.spec, picks)
    which = next((Which.of(phase) for phase in run.spec.phases if phase.name == name), Which())
    return tree_of(run.spec, which)


def point(folder: Path) -> None:
    """Point `latest` beside the folder at it, in one step."""
    link = folder.parent / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(folder.parent / "latest")
