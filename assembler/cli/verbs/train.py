"""`assembler train`: one model recipe on data."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Device, Out, Overrides, Recipe, Seed, Weights
from assembler.cli.values import mapping
from assembler.errors import InputError
from assembler.recipe.document import load

DataOption = Annotated[str, typer.Option("--data", help="A data set by name, or {name: ..., arguments}.")]
Epochs = Annotated[float | None, typer.Option("--epochs", help="Passes over the training data.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Optimiser steps, instead of epochs.")]
Batch = Annotated[int | None, typer.Option("--batch", help="Samples a step.")]
Rate = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")]
More = Annotated[
    str | None, typer.Option("--train", metavar="MAPPING", help="Any settings, as in a recipe's train: section.")
]
Task = Annotated[
    str | None, typer.Option("--task", metavar="MAPPING", help="What it is trained for, as in a run's task: section.")
]
Metric = Annotated[str | None, typer.Option("--metric", help="What is told of it: accuracy, loss, perplexity, a loss.")]
Test = Annotated[bool, typer.Option("--test", help="At the end, measure once on the test split.")]


def train(
    recipe: Recipe,
    data: DataOption,
    override: Overrides = None,
    epochs: Epochs = None,
    steps: Steps = None,
    batch: Batch = None,
    lr: Rate = None,
    train: More = None,
    task: Task = None,
    metric: Metric = None,
    weights: Weights = None,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    test: Test = False,
) -> dict[str, Any]:
    """Train a model recipe on data and write its weights.

    It begins with the weights given, with those that the recipe names, or with the seed's. It is trained for its
    labels, or for the task given: a loss term, a list of them or {graph: steps, terms: [...]} over its values and the
    fields of the data; `{value: loss}` is a loss that the model carries. Prints the accuracy on the validation split,
    or the metric. The same training again is read from the parts store. Writes
    model.safetensors, graph.txt, recipe.lock.yaml and metrics.jsonl to --out, or to runs/NAME/TIME-HASH/.

    \b
        assembler train my/gpt.yaml --data '{name: text, file: a.txt}' \\
            --task '{loss: cross_entropy, value: logits, target: next, axis: -1}'
        assembler train digits_metaformer --data digits --epochs 10
        assembler train my/model.yaml --data '{name: blobs, classes: 4}' --train '{optimizer: sgd, lr: 0.1}' --test
    """
    document = load(recipe, override or ())
    if document.kind == "run":
        raise InputError(f"'{document.name}' is a run", hint=f"`assembler run {recipe}` trains what its phases say")
    from assembler.pipeline.checking.training import check, read_metric, read_task
    from assembler.pipeline.folders import new_folder
    from assembler.pipeline.progress import Progress
    from assembler.pipeline.training import Setting, train_graph, write_trained
    from assembler.pipeline.weights.loading import places, words
    from assembler.train.device import resolve
    from assembler.wiring.build import build

    graph = build(document.model, name=document.name)
    said = {"epochs": epochs, "steps": steps, "batch": batch, "lr": lr}
    settings = {**mapping(train or "{}", "--train"), **{k: v for k, v in said.items() if v is not None}}
    wanted = read_task(task, graph) if task else None
    of = (wanted, read_metric(metric, wanted))
    how = Setting(mapping(data, "--data", name="name"), settings, seed, str(resolve(device)), *of)
    check(graph, how, document.model)
    with Progress() as progress:
        begin = places(document.model, document.folder, weights)
        product, tested = train_graph(graph, how, begin, test=test, on_event=progress.event)
    folder = write_trained(out or new_folder(document), document, product)
    found = {"recipe": document.name, "folder": str(folder), "seed": seed, **product.result, "test": tested}
    if product.result.get("initialised"):
        say.line(f"weights      {words(product.result['loaded'], product.result['initialised'])}")
    say.line(f"validation   {product.result['validation']:.4f}")
    if tested is not None:
        say.line(f"test         {tested:.4f}")
    say.line(f"folder       {folder}")
    return found
