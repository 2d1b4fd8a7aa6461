"""Constraints of a space: one line of `where:` is an expression over decisions, by path, and costs, by name.

    where:
      - params <= 1e6
      - stage.0.mixer != 'attention' or vars.depth >= 2
      - count(stage.*.mixer, 'attention') <= 2

A decision is read as what is picked (a candidate that is a step by its label), `null` where it is not open; a path with
`*` as the list of what is picked wherever it leads; another path of the recipe as the plain value that stands there;
and a var that is an expression as what it comes to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.choices.decide import decide
from assembler.recipe.choices.decision import Decision, Pick
from assembler.recipe.expressions import Expression, evaluate, parse
from assembler.recipe.paths import get
from assembler.recipe.scope import scope_of
from assembler.recipe.values import Leaf, Map, Seq, Value, plain

COSTS = ("params", "flops", "memory", "latency", "depth", "steps")
"""What a constraint can read of the graph that a choice makes."""
_GRAPH, _COST = "graph.", "cost."
"""How a decision on a step and a cost are named in full, where both have one name."""
_QUOTED = re.compile(r"('[^']*'|\"[^\"]*\")")
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.(?:\w+|\*)|\[[^\]]*\](?=\.))+")
_EXAMPLE = "for instance [params <= 1e6, \"stage.0.mixer != 'attention' or vars.depth >= 2\"]"


@dataclass(frozen=True, slots=True)
class Read:
    """What a name in a constraint stands for: decisions, one or several, a value, or a var reckoned from `section`."""

    decisions: tuple[tuple[Decision, tuple[Any, ...]], ...] = ()
    several: bool = False
    value: Any = None
    section: Map | None = None

    def of(self, choice: Mapping[str, Pick]) -> Any:
        """The value under a choice."""
        if self.section is not None:
            made = decide(Map((("vars", self.section),)), choice).get("vars")
            return scope_of(made)[self.value]
        if not self.decisions:
            return self.value
        found = [_picked(d, said, choice[d.name]) for d, said in self.decisions if d.name in choice]
        return found if self.several else found[0] if found else None


@dataclass(frozen=True, slots=True)
class Rule:
    """A constraint: its text, what it reads of a choice, and the costs that it reads of the graph."""

    text: str
    expression: Expression = field(compare=False)
    reads: tuple[tuple[str, Read], ...] = field(compare=False)
    costs: frozenset[str] = field(compare=False)
    span: Span | None = field(default=None, compare=False)
    named: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """Names that stand for costs, and which."""

    @property
    def decisions(self) -> tuple[str, ...]:
        """The names of the decisions that it reads."""
        return tuple(d.name for _, read in self.reads for d, _ in read.decisions)

    def refusal(self, choice: Mapping[str, Pick], costs: Mapping[str, float]) -> str:
        """Why a choice breaks it, naming it; empty where it holds."""
        try:
            held = self.holds(choice, costs)
        except RecipeError as error:
            return f"where: {self.text}: {error.problems[0].message}"
        return "" if held else f"where: {self.text}"

    def holds(self, choice: Mapping[str, Pick], costs: Mapping[str, float]) -> bool:
        """Whether it holds. Raises RecipeError where that cannot be told of these values."""
        return bool(self.value(choice, costs))

    def value(self, choice: Mapping[str, Pick], costs: Mapping[str, float]) -> Any:
        """What it comes to. Raises RecipeError where that cannot be told of these values."""
        named = {name: costs[cost] for name, cost in self.named if cost in costs}
        reads = {name: read.of(choice) for name, read in self.reads}
        return evaluate(self.expression, {**reads, **costs, **named})


def _picked(d: Decision, said: tuple[Any, ...], pick: Pick) -> Any:
    if d.kind in ("int", "float", "moves"):
        return list(pick) if isinstance(pick, tuple) else pick
    return [said[p] for p in pick] if isinstance(pick, tuple) else said[int(pick)]


Known = Mapping[str, tuple[Decision, tuple[Any, ...]]]
"""Every decision by name, with the values of its candidates."""


def rules(tree: Map, known: Known, problems: list[Problem]) -> tuple[Rule, ...]:
    """The constraints of a recipe's `where:`; what is wrong with them is noted."""
    section = tree.get("where")
    if section is None or not known:  # where nothing is open, they have been met
        return ()
    lines = tuple(section) if isinstance(section, Seq) else (section,)
    return tuple(rule for line in lines if (rule := _rule(line, tree, known, problems)))


def _rule(line: Value, tree: Map, known: Known, problems: list[Problem]) -> Rule | None:
    if not isinstance(line, Leaf) or not isinstance(line.value, str) or not line.value.strip(" ="):
        problems.append(Problem("a constraint in 'where' is an expression", line.span, "where", _EXAMPLE))
        return None
    try:
        return formula(line.value, tree, known, line.span)
    except RecipeError as error:
        problems += error.at(line.span).problems
        return None


def formula(said: str, tree: Map, known: Known, span: Span | None = None, what: str = "where") -> Rule:
    """An expression over decisions and costs, which `what` says, read. Raises RecipeError."""
    text = said.removeprefix("=").strip()
    names: dict[str, str] = {}
    expression = parse("=" + _named(text, names), span)
    for name in sorted(expression.names - set(names)):
        if name in known and name in COSTS:
            both = f"{what}: '{name}' is a decision and a cost"
            raise RecipeError(Problem(both, hint=f"write {_GRAPH}{name} for the decision, {_COST}{name} for the cost"))
        if name not in (*known, *COSTS):
            raise _unknown(name, known, what)
        if name in known:
            names[name] = name
    named = tuple((n, cost) for n, path in names.items() if (cost := _cost(path, known)))
    reads = tuple((n, _read(path, tree, known, what)) for n, path in names.items() if n not in dict(named))
    costs = (expression.names & set(COSTS)) | set(dict(named).values())
    return Rule(text, expression, reads, frozenset(costs), span, named)


def _cost(path: str, known: Known) -> str:
    """The cost that a path names in full (`cost.depth`), or ""."""
    cost = path.removeprefix(_COST) if path.startswith(_COST) and path not in known else ""
    return cost if cost in COSTS else ""


def _named(text: str, names: dict[str, str]) -> str:
    """The text with every path as a name of the same length; `names` gets the path of each."""

    def name(found: re.Match[str]) -> str:
        said = re.sub(r"\W", "_", found[0])
        while names.get(said, found[0]) != found[0]:
            said += "_"
        names[said] = found[0]
        return said

    parts = _QUOTED.split(text)
    return "".join(part if i % 2 else _PATH.sub(name, part) for i, part in enumerate(parts))


def _read(path: str, tree: Map, known: Known, what: str) -> Read:
    path = path.removeprefix(_GRAPH) if path.removeprefix(_GRAPH) in known else path
    if path in known:
        return Read((known[path],))
    if "*" in path.split("."):
        pattern = re.compile(re.escape(path).replace(r"\.\*", r"\.[^.\[\]]+"))
        if found := tuple(known[name] for name in known if pattern.fullmatch(name)):
            return Read(found, several=True)
    elif (value := get(tree, path)) is not None and _is_plain(value):
        return Read(value=plain(value))
    elif value is not None and path.startswith("vars.") and path.count(".") == 1:
        return _reckoned(path.removeprefix("vars."), tree.get("vars"), known)
    raise _unknown(path, known, what)


def _reckoned(name: str, section: Map, known: Known) -> Read:
    """A var that is an expression over others, with the decisions that it depends on."""
    needed, waiting = dict[str, Value](), [name]
    while waiting:
        if (value := section.get(one := waiting.pop())) is not None and one not in needed:
            needed[one] = value
            waiting += sorted(_names(value))
    inside = tuple(found for path, found in known.items() if re.split(r"[.\[]", path)[:1] == ["vars"]
                   and re.split(r"[.\[]", path)[1] in needed)  # fmt: skip
    return Read(inside, value=name, section=Map(tuple(needed.items())))


def _names(value: Value) -> frozenset[str]:
    if isinstance(value, Leaf):
        text = value.value
        return parse(text, value.span).names if isinstance(text, str) and text.startswith("=") else frozenset()
    parts = value.items if isinstance(value, Seq) else [v for _, v in value]
    return frozenset().union(*map(_names, parts))


def _is_plain(value: Value) -> bool:
    if isinstance(value, Leaf):
        return not (isinstance(value.value, str) and value.value.startswith("="))
    return isinstance(value, Seq) and all(map(_is_plain, value))


def _unknown(name: str, known: Known, what: str) -> RecipeError:
    kind = "decision or value" if "." in name else "decision or cost"
    hint = near(name, [*known, *COSTS]) or f"costs: {', '.join(COSTS)}; decisions: {', '.join(list(known)[:6])}"
    return RecipeError(Problem(f"{what}: there is no {kind} '{name}'", hint=hint))


def unreadable(found: tuple[Rule, ...], choices: Iterator[Mapping[str, Pick]]) -> Iterator[Problem]:
    """Constraints on decisions that cannot be told of some of these choices, each once."""
    left = [rule for rule in found if not rule.costs]
    for choice in choices:
        for rule in list(left):
            try:
                rule.holds(choice, {})
            except RecipeError as error:
                left.remove(rule)
                yield from error.at(rule.span).problems
        if not left:
            return
