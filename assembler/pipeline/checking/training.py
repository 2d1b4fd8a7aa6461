"""Whether one model can be trained on data for a task, told before anything is trained."""

from __future__ import annotations

from assembler.errors import InputError, RecipeError, near
from assembler.graph.core import Graph
from assembler.pipeline.checking.fits import input_problems, unfed
from assembler.pipeline.checking.objectives import TASK as USUAL
from assembler.pipeline.checking.objectives import objective
from assembler.pipeline.checking.scene import Scene
from assembler.pipeline.checking.terms import Said, Values, term_problems
from assembler.pipeline.training import Setting
from assembler.recipe.read import read_text
from assembler.recipe.values import Map, Seq, plain
from assembler.train.data.core import declared
from assembler.train.data.source import Declared
from assembler.train.terms import Spec, metrics, usual_metric

TASK = "--task"
"""Where a task stands that no recipe says."""
EXAMPLE = "{loss: cross_entropy, value: logits, target: label}"


def read_task(text: str, graph: Graph) -> Spec:
    """The task that an option's text says. Raises RecipeError with all that is wrong with it."""
    value = read_text(f"value: {text}\n", TASK).get("value")
    if not isinstance(value, Map | Seq):
        raise InputError(f"{TASK} takes a loss term, not '{text}'", hint=f"{TASK} '{EXAMPLE}'")
    if problems := list(objective(value, Scene(graph))):
        raise RecipeError(problems)
    found: Spec = plain(value)
    return found


def read_metric(said: str | None, task: Spec | None) -> str:
    """The metric that is told, by default the usual one of the task. Raises InputError for one that is not known."""
    known = metrics()
    if said is not None and said not in known:
        raise InputError(f"unknown metric '{said}'", hint=near(said, known) or "there are " + ", ".join(known))
    return said or usual_metric(task if task is not None else USUAL)


def check(graph: Graph, how: Setting, model: Map) -> None:
    """Raise RecipeError or InputError where model, data and task do not fit; `model` is the recipe, for places."""
    data = declared(how.data, read=True)
    assert data is not None
    section = model.get("inputs")
    section = section if isinstance(section, Map) else Map()
    problems = list(input_problems(graph, data.fields, section))
    if not problems:
        task = how.term(graph)
        if how.task is None and "label" not in data.fields and "label" not in dict(graph.outputs):
            raise _nothing(graph, data)
        problems = list(unfed(graph, data.fields, task, section, section.span))
        problems += term_problems([Said(task, None, TASK)], Values(graph, {}, data))
    if problems:
        raise RecipeError(problems)


def _nothing(graph: Graph, data: Declared) -> InputError:
    """A model that is trained without a task, on data that has no labels."""
    fields = ", ".join(data.fields)
    losses = [name for name, mode in graph.only if mode == "train" and name in dict(graph.outputs)]
    free = [name for name in data.fields if name not in graph.input_names]
    if losses:
        example = f"{{value: {losses[0]}}}"
    else:
        whole = free and "int" in data.fields[free[0]].dtype
        target = free[0] if free else next(iter(data.fields))
        example = f"{{loss: {'cross_entropy' if whole else 'mse'}, value: {graph.outputs[0][0]}, target: {target}}}"
    said = f"the data has {fields}, and no 'label', which a training is about that has no task"
    return InputError(said, path=TASK, hint=f"--task '{example}'")
