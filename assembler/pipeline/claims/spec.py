"""The `claims:` of a recipe, read: what is measured, on what, and what must come out. Free of torch.

An exact claim is a check with its arguments; a claim about arms names changes of one recipe and a metric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assembler.errors import InputError, Span, near
from assembler.recipe.choices import TRAINED
from assembler.recipe.document import Document, entries, varied
from assembler.recipe.expressions import Expression, parse
from assembler.recipe.overrides import Change
from assembler.recipe.scope import Scope, resolve
from assembler.recipe.values import Leaf, Map, Seq, Value, marked, plain

COMMON = ("doc", "expect", "at", "seeds", "seeds_holding", "model")
EXACT = ("check", "inputs", "batch", "mode", "precision", "graph", "after")
ARMS = ("arms", "metric", "budget")
START = "start"
"""In `since: start`, the weights that a model begins with."""
TRAINING = ("data", "train", "task")
"""What a claim of a model says about how its arms are trained; a run says it for itself."""
VALUE, BATCH = "value", "B"
"""What an expectation calls what was measured, and the batch that it was measured with."""
SPLITS = ("train", "validation", "test")
COSTS = ("params", "flops", "train_flops")
_RELATION = re.compile(r"(<=|>=|==|!=|<|>|in\b|not\s+in\b)")


@dataclass(frozen=True)
class Measure:
    """A check with its arguments, and how the model is run for it. `inputs` are ranges by name, or a split's name.

    `batch` is how many samples it is run on, 0 where the claim does not say; `after` are rewrites that the model has
    gone through.
    """

    check: str
    args: Map = field(default_factory=Map)
    inputs: Mapping[str, Any] | str = field(default_factory=dict)
    batch: int = 0
    mode: str = "eval"
    precision: str = "float64"
    steps: Map = field(default_factory=Map)
    after: tuple[Any, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether it searches by what choices are worth when they are trained, which all are for it."""
        return bool(plain(self.args).get("objective") == TRAINED)


@dataclass(frozen=True)
class Claim:
    """One claim. `measure` is there for an exact one, `arms` (changes by name) and `metric` for a comparison.

    `seeds` is empty where the claim says none; `holding` is for how many of them alone the expectation has to hold,
    0 for a claim about all of them, or about the means of arms. `metric` is a name (`test.accuracy`, `params`), a
    Measure, or an objective with the split that it is taken over.
    """

    name: str
    doc: str
    said: str
    expect: Expression
    at: tuple[Change, ...] = ()
    seeds: tuple[int, ...] = ()
    holding: int = 0
    model: str = ""
    measure: Measure | None = None
    arms: tuple[tuple[str, tuple[Change, ...]], ...] = ()
    metric: str | Measure | Mapping[str, Any] = ""
    budget: str = "flops"
    training: Map = field(default_factory=Map)
    span: Span | None = field(default=None, compare=False)


def claims_of(document: Document) -> tuple[Claim, ...]:
    """The claims of a recipe that was found sound, in order."""
    section = document.tree.get("claims")
    if not isinstance(section, Map):
        return ()
    return tuple(_claim(name, body, section.key_span(name)) for name, body in section if isinstance(body, Map))


def _claim(name: str, body: Map, span: Span | None) -> Claim:
    said = str(plain(body.get("expect")))
    arms = body.get("arms", Map())
    metric = body.get("metric", Leaf(""))
    own = [key for key in TRAINING if key in body]
    return Claim(
        name,
        str(plain(body.get("doc", Leaf("")))),
        said,
        expectation(said, body.get("expect").span),
        tuple(entries(body.get("at"))),
        seeds_of(body.get("seeds")),
        int(plain(body.get("seeds_holding", Leaf(0)))),
        str(plain(body.get("model", Leaf("")))),
        measure_of(body) if "check" in body else None,
        tuple((arm, tuple(entries(changes))) for arm, changes in arms),
        measure_of(metric) if isinstance(metric, Map) and "check" in metric else plain(metric),
        str(plain(body.get("budget", Leaf("flops")))),
        Map(tuple((k, body.get(k)) for k in own), span, tuple(map(body.key_span, own))),
        span,
    )


def measure_of(body: Map) -> Measure:
    """The check that a claim, or the metric of one, says."""
    return Measure(
        str(plain(body.get("check"))),
        body.drop(*COMMON, *EXACT),
        plain(body.get("inputs", Map())),
        int(plain(body.get("batch", Leaf(0)))),
        str(plain(body.get("mode", Leaf("eval")))),
        str(plain(body.get("precision", Leaf("float64")))),
        body.get("graph", Map()),
        tuple(plain(body.get("after", Seq(())))),
    )


def seeds_of(value: Value | None) -> tuple[int, ...]:
    """`3` is the seeds 0, 1 and 2; a list is itself."""
    said = plain(value) if value is not None else []
    return tuple(range(said)) if isinstance(said, int) else tuple(said)


def expectation(text: str, span: Span | None = None) -> Expression:
    """The expression that an expectation stands for: `<= 1e-5` is `value <= 1e-5`. Raises RecipeError at `span`."""
    rest = text.strip()
    if re.match(r"=(?![=<>])", rest):
        rest = rest[1:].strip()
    return parse(f"={VALUE} {rest}" if _RELATION.match(rest) else f"={rest}", span)


def evaluated(args: Map, names: Scope) -> Map:
    """Arguments with their expressions evaluated; mappings stay as they are. Raises RecipeError."""
    found = args
    for key, value in args:
        if not isinstance(value, Map):
            found = found.set(key, marked(resolve(value, names), value.span))
    return found


def at(document: Document, claim: Claim, changes: tuple[Change, ...] = (), *, strict: bool = True) -> Document:
    """The recipe as a claim measures it: with its own changes and those of an arm, and without claims."""
    if document.kind == "model" and claim.arms:
        document = as_run(document, claim)
    found = varied(document, [*claim.at, *changes], strict=strict)
    return replace(found, tree=found.tree.drop("claims"))


def as_run(document: Document, claim: Claim) -> Document:
    """A model with the data and training of a claim as a run of one phase; without them as it is."""
    if "data" not in claim.training:
        return document
    model = document.model.drop("claims", "set", "kind")
    phases = Map((("train", Map()),))
    head = (("kind", Leaf("run")), ("model", model))
    places = (claim.span, claim.span, *claim.training.key_spans, claim.span)
    tree = Map((*head, *claim.training, ("phases", phases)), claim.span, places)
    return Document("run", document.name, tree, model, document.base.drop("claims"), document.file)


def named(claims: tuple[Claim, ...], wanted: list[str]) -> tuple[Claim, ...]:
    """Those of the claims that are wanted; all where none is named. Raises InputError for one that there is not."""
    known = [claim.name for claim in claims]
    for name in wanted:
        if name not in known:
            raise InputError(f"there is no claim '{name}'", hint=near(name, known) or f"claims: {', '.join(known)}")
    return tuple(claim for claim in claims if not wanted or claim.name in wanted)
