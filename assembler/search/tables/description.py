"""The description of a table: which file, how its rows are addressed, which decisions, metrics and costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembler import resources
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.recipe.choices import Space, space
from assembler.recipe.document import load
from assembler.recipe.read import read_file
from assembler.recipe.values import Leaf, Map, Value, plain
from assembler.registry.checks import shown
from assembler.search.pareto import Direction

_KEYS = ("kind", "name", "doc", "file", "space", "decisions", "columns", "rows", "metrics", "costs")
_WHERE = ("column", "at", "codes", "values")
_GOALS: tuple[Direction, ...] = ("maximize", "minimize")


@dataclass(frozen=True)
class Where:
    """Where numbers or picks stand: a column, or the `at`-th of a column of several.

    `codes` says that the cells are numbers of candidates, from 0; `values` is what the cells say for each candidate,
    where that is not its label.
    """

    column: str
    at: int | None = None
    codes: bool = False
    values: tuple[str, ...] = ()
    span: Span | None = None


@dataclass(frozen=True)
class Metric:
    """A number that choices are judged by."""

    where: Where
    goal: Direction


@dataclass(frozen=True)
class Description:
    """What a description says. Rows are found by the `columns` of the decisions, or by `key`: a column whose cells are
    the `text` with labels in place of `{decision}`; or, `ordered`, they stand in the order of a grid.

    `model` is the model whose choices the decisions are, where the table names a space.
    """

    name: str
    file: str
    space: Space
    columns: dict[str, Where]
    key: tuple[Where, str] | None
    ordered: bool
    metrics: dict[str, Metric]
    costs: dict[str, Where]
    model: Map | None
    source: Path
    rows: Span | None = None
    """Where it says how rows are addressed."""


def describe(path: Path) -> Description:
    """Read a description. Raises RecipeError with every problem, each with its line; InputError for no such file."""
    return _Reader(read_file(path), path).description()


class _Reader:
    def __init__(self, tree: Map, path: Path) -> None:
        self.tree, self.path = tree, path
        self.problems: list[Problem] = []

    def description(self) -> Description:
        tree = self.tree
        if plain(tree.get("kind", Leaf(None))) != "table":
            self.note("this describes no table", tree, "kind", "write `kind: table`")
        self.known(tree, _KEYS, "a table")
        model, found = self.decisions()
        columns = {d.name: Where(d.name) for d in found.decisions}
        for name, where in self.places("columns").items():
            if name not in columns:
                self.note(f"there is no decision '{name}'", self.section("columns"), name, near(name, columns))
            columns[name] = where
        key, ordered = self.rows(found)
        made = Description(
            name=str(plain(tree.get("name", Leaf(self.path.stem)))),
            file=self.text("file", "the .npz, .json or .csv beside this description"),
            space=found,
            columns={} if key or ordered else columns,
            key=key,
            ordered=ordered,
            metrics=self.metrics(),
            costs=self.places("costs"),
            model=model,
            source=self.path,
            rows=tree.key_span("rows"),
        )
        if self.problems:
            raise RecipeError(self.problems)
        return made

    def decisions(self) -> tuple[Map | None, Space]:
        """The model of the space that is named, if any, and the decisions."""
        if ("space" in self.tree) == ("decisions" in self.tree):
            hint = "decisions: {op: {$oneof: [conv, pool]}}, or space: a recipe or space by name or file"
            self.note("a table needs either 'decisions' or 'space'", self.tree, "decisions", hint)
            return None, Space(())
        model = None
        if "space" in self.tree:
            name, model = self.text("space", "a recipe or space"), self.model()
            found = space(model) if model else Space(())
            if model and not found.decisions:
                self.note(f"'{name}' has no open choice", self.tree, "space")
        else:
            found = space(self.section("decisions"), self.problems)
            if not found.decisions and not self.problems:
                self.note(
                    "there is no choice among the decisions", self.tree, "decisions", "op: {$oneof: [conv, pool]}"
                )
        for d in found.decisions:
            if d.size is None:
                hint = "write the values that the table has: {$oneof: [0.1, 0.2]}"
                self.note(f"'{d.name}' has countless values, which no table holds", self.tree, "decisions", hint)
        return model, found

    def model(self) -> Map | None:
        try:
            name, at, scale = str(plain(self.tree.get("space"))).partition("@")
            return load(f"{resources.find(name, beside=self.path.parent)}{at}{scale}").model
        except AssemblerError as error:
            self.problems += error.at(self.tree.get("space").span).problems
            return None

    def rows(self, found: Space) -> tuple[tuple[Where, str] | None, bool]:
        """How rows are addressed: (key column and its text), or whether they stand in the order of a grid."""
        rows = self.tree.get("rows", Leaf("columns"))
        said = plain(rows)
        if said in ("columns", "grid"):
            if said == "grid" and "columns" in self.tree:
                self.note("rows in the order of a grid have no columns", self.tree, "columns", "leave one of them out")
            return None, said == "grid"
        if not isinstance(rows, Map) or not isinstance(said.get("text"), str) or not isinstance(said.get("key"), str):
            hint = "columns, grid, or {key: COLUMN, text: '{decision}-{decision}'}"
            self.note(f"'rows' cannot be {shown(said)}", self.tree, "rows", hint)
            return None, False
        self.known(rows, ("key", "text"), "'rows'")
        for name in placeholders(said["text"]):
            if name not in {d.name for d in found.decisions}:
                self.note(f"there is no decision '{name}'", rows, "text", near(name, [d.name for d in found.decisions]))
        return (Where(said["key"], span=rows.get("key").span), said["text"]), False

    def metrics(self) -> dict[str, Metric]:
        section, found = self.section("metrics"), {}
        for name, value in section:
            body = value if isinstance(value, Map) else Map((("goal", value),), value.span)
            goal = plain(body.get("goal", Leaf(None)))
            if goal not in _GOALS:
                hint = near(str(goal), _GOALS) or f"`{name}: maximize` or `{name}: minimize`"
                self.note(f"which way is '{name}' better?", section, name, hint)
            where = self.where(body.drop("goal"), name)
            found[name] = Metric(where, "minimize" if goal == "minimize" else "maximize")
        if not len(section):
            self.note("a table needs metrics", self.tree, "metrics", "for instance metrics: {accuracy: maximize}")
        return found

    def places(self, name: str) -> dict[str, Where]:
        """A section of names and where each stands; a list of names stands for columns of those names."""
        section = self.tree.get(name, Map())
        said = plain(section)
        if isinstance(said, list) and all(isinstance(one, str) for one in said):
            return {one: Where(one, span=section.span) for one in said}
        return {key: self.where(value, key) for key, value in self.section(name)}

    def where(self, value: Value, name: str) -> Where:
        said: Any = plain(value)
        if isinstance(said, str):
            return Where(said, span=value.span)
        if not isinstance(value, Map):
            self.problems.append(
                Problem(f"'{name}' needs a column, not {shown(said)}", value.span, hint=f"for instance {name}: {name}")
            )
            return Where(name)
        self.known(value, _WHERE, f"'{name}'")
        at, codes, values = said.get("at"), said.get("codes", False), said.get("values", [])
        kinds = (
            ("column", isinstance(said.get("column", name), str), "a column's name"),
            ("at", at is None or (type(at) is int and at >= 0), "a whole number from 0"),
            ("codes", isinstance(codes, bool), "true or false"),
            ("values", isinstance(values, list), "a list with what the cells say for each candidate"),
        )
        for key, fits, what in kinds:
            if not fits:
                self.note(f"'{key}' of '{name}' is {what}, not {shown(said[key])}", value, key)
        if any(not fits for _, fits, _ in kinds):
            return Where(name)
        return Where(said.get("column", name), at, codes, tuple(map(str, values)), value.span)

    def section(self, name: str) -> Map:
        value = self.tree.get(name, Map())
        if isinstance(value, Map):
            return value
        self.note(f"'{name}' is a mapping, not {shown(plain(value))}", self.tree, name)
        return Map()

    def text(self, key: str, what: str) -> str:
        said = plain(self.tree.get(key, Leaf(None)))
        if not isinstance(said, str):
            self.note(f"a table needs '{key}': {what}", self.tree, key)
        return str(said)

    def known(self, tree: Map, keys: Iterable[str], what: str) -> None:
        keys = tuple(keys)
        for key in tree.keys():
            if key not in keys:
                hint = near(key, keys) or f"keys: {', '.join(keys)}"
                self.note(f"unknown key '{key}' in {what}", tree, key, hint)

    def note(self, message: str, tree: Map, key: str, hint: str = "") -> None:
        self.problems.append(Problem(message, tree.key_span(key) or Span(str(self.path), 1, 1), hint=hint))


def placeholders(text: str) -> list[str]:
    """The names in braces of a key's text."""
    return [part.partition("}")[0] for part in text.split("{")[1:]]


def filled(text: str, labels: dict[str, str]) -> str:
    """A key's text with labels in place of names; a decision that is not made leaves nothing."""
    head, *parts = text.split("{")
    return head + "".join(labels.get(name, "") + rest for name, _, rest in (part.partition("}") for part in parts))
