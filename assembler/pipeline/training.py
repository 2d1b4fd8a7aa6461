"""Train one model recipe on data: a task of its own, so that the same training is never done twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembler import resources
from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.runner import Event, Runner
from assembler.assemble.store import Store
from assembler.assemble.task import Task, module_code, task
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.errors import InputError, TaskError
from assembler.graph.core import Graph
from assembler.graph.text import to_text
from assembler.pipeline.cards import about
from assembler.pipeline.code import code_of
from assembler.pipeline.exporting import export, write_text
from assembler.pipeline.jobs import model_of
from assembler.pipeline.spec import TASK
from assembler.pipeline.weights.initial import needs_of
from assembler.pipeline.weights.loading import Place
from assembler.recipe.document import Document
from assembler.recipe.write import to_yaml
from assembler.train.data.core import fingerprint
from assembler.train.spec import FitSpec
from assembler.train.terms import Spec, as_objective, ordered, read

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Setting:
    """What a model is trained on and how: data, a recipe's `train:` settings, seed, device, the loss and the metric.

    Without a `task` it is the labels of the model's first output.
    """

    data: Mapping[str, Any]
    train: Mapping[str, Any]
    seed: int = 0
    device: str = "auto"
    task: Spec | None = None
    metric: str = "accuracy"

    def term(self, graph: Graph) -> Spec:
        """The loss of a model."""
        return {**TASK, "value": graph.outputs[0][0]} if self.task is None else ordered(self.task)


def training_task(
    graph: Graph, how: Setting, begin: Mapping[str, Task] | None = None, *, label: str, phase: str = "train"
) -> Task:
    """The task that trains a graph from the weights `begin` or from the seed's."""
    term = how.term(graph)
    inputs = {
        "graph": to_text(graph),
        "data": dict(how.data),
        "data_id": fingerprint(how.data),
        "task": term,
        "metric": how.metric,
        "train": dict(how.train),
        "objective": as_objective(term),
        "seed": how.seed,
        "device": how.device,
    }
    code = code_of(graph, as_objective(term), how.train)
    return task("assembler.pipeline.jobs:train", inputs, begin, label=label, phase=phase, code=code)


def test_task(trained: Task) -> Task:
    """The task that measures what `trained` made on the test split."""
    inputs = {name: trained.parameters[name] for name in ("data", "data_id", "task", "metric", "device")}
    code = [module_code("assembler.train.evaluate")]
    label = f"test of {trained.name}"
    heads = {name.partition(".")[0] for name in read(inputs["task"], "task").needs}
    needs = {"model": trained, **{name: need for name, need in trained.needs if name in heads}}
    return task("assembler.pipeline.jobs:test", inputs, needs, label=label, phase="test", code=code)


def train_graph(
    graph: Graph,
    how: Setting,
    places: tuple[Place, ...] = (),
    *,
    test: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> tuple[Product, float | None]:
    """The trained model, and with `test` its score on the test split, which is not read otherwise.

    It begins with the weights at `places`. Raises InputError where model, weights, data and settings do not fit,
    TaskError where the training fails.
    """
    FitSpec.from_spec(how.train, path="train")
    store = Store(resources.store_home())
    trained = training_task(graph, how, needs_of(store, graph, places, phase="train"), label=graph.name)
    with Runner(store, 1, on_event, describe=about) as runner:
        made = _product(runner, trained)
        return made, _product(runner, test_task(trained)).result["test"] if test else None


def write_trained(folder: Path, document: Document, product: Product) -> Path:
    """Write a trained model, its graph, its recipe and its training log into a folder, and return that."""
    model = model_of(product)
    module = lower(model.graph)
    load_there(module, model.weights)
    write_text(folder / "recipe.lock.yaml", to_yaml(document.model.drop("set")))
    write_text(folder / "graph.txt", to_text(model.graph))
    write_text(folder / METRICS, product.file(METRICS).read_text(encoding="utf-8"))
    export(module, folder, ("safetensors",))
    return folder


def _product(runner: Runner, wanted: Task) -> Product:
    found = runner.run([wanted])[wanted]
    if isinstance(found, Failure):
        error = InputError if found.kind == "input" else TaskError
        raise error(f"{wanted.name}: {found.reason}")
    return found
