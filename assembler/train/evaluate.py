"""How good a model is on a split: accuracy, or a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from assembler.errors import RecipeError, near
from assembler.registry import lookup, names
from assembler.train.data.core import Split
from assembler.train.objective import Objective
from assembler.train.terms import metrics

Values = Mapping[str, Tensor]
Forward = Callable[[Values], Values]
Metric = str | Objective


def forward_of(model: nn.Module, inputs: Sequence[str], outputs: Sequence[str] = ("logits",)) -> Forward:
    """A function from a batch to named values: calls `model` with the fields `inputs` and names what comes back.

    A model that returns a mapping names its values itself; a tensor or a tuple takes the names `outputs`.
    """

    def forward(batch: Values) -> Values:
        found = model(*(batch[name] for name in inputs))
        if isinstance(found, Mapping):
            return found
        return dict(zip(outputs, (found,) if isinstance(found, Tensor) else found, strict=True))

    return forward


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every sub-module has the mode that it had."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    try:
        for model in models:
            model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def evaluate(
    model: nn.Module,
    split: Split,
    metric: Metric = "accuracy",
    *,
    value: str = "logits",
    target: str = "label",
    batch: int = 512,
) -> float:
    """The metric of `model` over `split`, in evaluation mode, on the device where its weights lie.

    The model is fed the split's inputs in order and its output is called `value`.
    """
    weight = next(iter(model.parameters()), None)
    split = split if weight is None else split.to(weight.device)
    with evaluating(model):
        return measure(
            forward_of(model, split.inputs, (value,)), split, metric, value=value, target=target, batch=batch
        )


@torch.no_grad()
def measure(
    forward: Forward,
    split: Split,
    metric: Metric = "accuracy",
    *,
    value: str = "logits",
    target: str = "label",
    axis: int = 1,
    batch: int = 512,
) -> float:
    """The metric of `values[value]` against `values[target]`, averaged over the samples of `split`.

    `metric` is "accuracy" (of logits with the classes along `axis`, over every label that is not -100), the name of a
    registered loss ("mse"), or an objective, whose total is taken. The caller sees to the modules' modes. Raises
    RecipeError for an unknown metric.
    """
    score = _score(metric, value, target, axis)
    total, count = torch.zeros((), dtype=torch.float64), 0
    for start in range(0, len(split), batch):
        fields = {name: tensor[start : start + batch] for name, tensor in split.fields.items()}
        size = len(next(iter(fields.values())))
        total += score({**fields, **forward(fields)}).double().cpu() * size
        count += size
    return float(total / count)


def higher_is_better(metric: Metric) -> bool:
    """Whether more of the metric is better: so for accuracy, and for losses that say so, not for others."""
    return metric == "accuracy" or (metric in names("loss") and bool(lookup("loss", metric).option("higher", False)))


def _score(metric: Metric, value: str, target: str, axis: int) -> Callable[[Values], Tensor]:
    if metric == "accuracy":
        return lambda values: _accuracy(values[value].argmax(dim=axis), values[target])
    if isinstance(metric, str):
        if metric not in names("loss"):
            hint = near(metric, metrics()) or "there are " + ", ".join(metrics())
            raise RecipeError(f"unknown metric '{metric}'", hint=hint)
        metric = Objective.from_spec([{"loss": metric, "value": value, "target": target}])
    objective = metric
    return lambda values: objective(values)[0]


def _accuracy(found: Tensor, label: Tensor) -> Tensor:
    counts = label != -100
    return (found == label)[counts].double().mean()
