"""What a model costs, and how large its values are: counted without running it."""

from __future__ import annotations

from assembler.assemble.hybrid import value_paths
from assembler.checks.subject import Subject
from assembler.errors import RecipeError, near
from assembler.graph.values import covers, with_items
from assembler.infer.cost import costs
from assembler.infer.shape import shapes
from assembler.registry import check


@check(paths=("of",))
def params(model: Subject, *, of: str | list[str] | None = None, trained: bool = False) -> int:
    """How many parameters the model has, or the steps `of` alone; `trained` counts those that training may change.

    These are the parameters of steps that are not frozen, and of a phase with `trained:` those under its paths alone.
    """
    spent = costs(model.plain)
    return sum(spent[i].params for i in under(model, of) if not trained or _takes_a_gradient(model, i))


def _takes_a_gradient(model: Subject, step: str) -> bool:
    chosen = not model.trained or any(covers(path, step) for path in model.trained)
    return chosen and not model.plain.nodes[step].frozen


@check(paths=("of",))
def flops(model: Subject, *, of: str | list[str] | None = None) -> int:
    """FLOPs of a forward pass for one sample, of the model or the steps `of` alone; a multiply-add is two."""
    spent = costs(model.plain)
    return sum(spent[i].flops for i in under(model, of))


@check(paths=("of",))
def steps(model: Subject, *, op: str = "", of: str | list[str] | None = None) -> int:
    """How many steps the model has, or those of an `op` alone; all, or those at and under the paths `of`."""
    return sum(not op or model.plain.nodes[i].op == op for i in under(model, of))


@check(values=("of",))
def shape(model: Subject, *, of: str = "") -> list[int]:
    """The shape of a value, the batch first, which an expectation calls B: `== [B, 10]`."""
    name, graph = model.first(of), with_items(model.plain, [of] if of else [])
    if name in graph.input_names:
        return list(shapes(graph)[name].shape)
    if model.setup.steps and not (name in graph.nodes or name in graph.names or name in dict(graph.outputs)):
        return list(model.value(name).shape)
    return list(shapes(graph)[value_paths(graph, [name])[name]].shape)


def under(model: Subject, paths: str | list[str] | None) -> list[str]:
    """The steps at or under some paths, `*` standing for any one part. Raises RecipeError for a path with none."""
    graph = model.plain
    if paths is None:
        return list(graph.nodes)
    wanted = [paths] if isinstance(paths, str) else paths
    for path in wanted:
        if not any(covers(path, i) for i in graph.nodes):
            raise RecipeError(f"the model has no step '{path}'", hint=near(path, [*graph.names, *graph.nodes]))
    return [i for i in graph.nodes if any(covers(path, i) for path in wanted)]
