"""Whether a run's models fit its data: fields, shapes, classes, told from types before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from assembler.assemble.frozen import owner
from assembler.errors import InputError, Problem, RecipeError, ShapeError, Span, near
from assembler.graph.core import Graph, TensorType
from assembler.graph.diff import diff
from assembler.graph.modes import in_mode
from assembler.infer.resized import size_hint
from assembler.infer.shape import shapes
from assembler.pipeline.checking.budgets import Which, model_of, tree_of
from assembler.pipeline.checking.terms import Said, Values, term_problems
from assembler.pipeline.spec import Phase, RunSpec
from assembler.recipe.edits import EDITS
from assembler.recipe.notes import in_order, note_all
from assembler.recipe.values import Leaf, Map, Seq, Value
from assembler.train.data.core import declared
from assembler.train.data.source import Declared
from assembler.train.spec import FitSpec, settings
from assembler.train.terms import Spec, read, within

_INSIDE = ("incubate", "assemble")


def check(spec: RunSpec, *, read: bool = True) -> str:
    """Raise RecipeError, with every place in the recipe, where a model does not fit the data or its objectives.

    The data is read where it does not declare its fields, unless `read` says not to and it is large. Returns why
    nothing could be compared, or "". With `read`, raises InputError where the data is missing.
    """
    found: dict[str, Declared] = {}
    purposes = {p.name: spec.purpose_of(p) for p in spec.phases}
    for phase, purpose in purposes.items():
        try:
            data = declared(purpose.data, read=read)
        except InputError as error:
            if read:
                raise
            return error.problems[0].message
        if data is None:
            return "its fields are told by reading it, which plan does not do"
        found[phase] = data
    problems: list[Problem] = []
    note_all(problems, _Fits(spec, found).problems())
    if problems:
        raise RecipeError(in_order(problems))
    return ""


class _Fits:
    """Goes through the phases of a run, each with its data; `graphs` are the models that they have made so far."""

    def __init__(self, spec: RunSpec, data: Mapping[str, Declared]) -> None:
        self.spec = spec
        self.data = data
        self.graphs: dict[str, Graph] = {}
        self.host = ""
        self.broken: set[str] = set()

    def problems(self) -> Iterator[Problem]:
        for phase in self.spec.phases:
            kind = phase.entry.name
            if phase.has_recipe:
                yield from self.model(phase, model_of(self.spec, Which.of(phase)))
            elif kind == "tune" and phase.options["of"] in self.graphs:
                yield from self.model(phase, self.graphs[phase.options["of"]])
            elif kind == "merge":
                yield from self.merged(phase)
            elif kind in _INSIDE:
                self.host = str(phase.options.get("host") or self.host or "meta")
                yield from self.objective(phase, self.host)

    def merged(self, phase: Phase) -> Iterator[Problem]:
        """What is wrong with models that become one: only those of one graph do."""
        names = [*phase.options["of"], *([phase.options["base"]] if phase.options.get("base") else [])]
        first, *others = [name for name in names if name in self.graphs] or [""]
        body = self.spec.document.tree.get("phases").get(phase.name)
        for other in others:
            if self.graphs[other].fingerprint != self.graphs[first].fingerprint:
                said = f"'{other}' is another architecture than '{first}', and only equal ones are merged"
                hint = f"the first difference: {diff(self.graphs[first], self.graphs[other]).first}"
                yield Problem(said, body.get("of").span, hint=hint)
                return
        if first:
            self.graphs[phase.name] = self.graphs[first]

    def model(self, phase: Phase, graph: Graph) -> Iterator[Problem]:
        self.graphs[phase.name] = graph
        fields = self.data[phase.name].fields
        tree = tree_of(self.spec, Which.of(phase))
        section = tree.get("inputs")
        section = section if isinstance(section, Map) else Map()
        found = list(input_problems(graph, fields, section, tree.get(EDITS)))
        body = self.spec.document.tree.get("phases").get(phase.name)
        place = self.spec.document.tree.key_span("model")
        if "data" in phase.own:  # which the model, as it is written, need not fit
            place = body.key_span("data")
            found = [replace(p, span=place, hint=f"phase '{phase.name}' may `set` what its model reads") for p in found]
        elif phase.options.get("model"):
            place = body.get("model").span
            found = [replace(p, message=f"as phase '{phase.name}' has it, {p.message}", span=place) for p in found]
        found = found or list(_cannot_run(graph, phase))
        yield from (p if p.span else replace(p, span=place) for p in found)
        if found:  # whatever follows from it would only repeat it
            del self.graphs[phase.name]
            self.broken.add(phase.name)
            return
        values = Values(graph, self.graphs, self.data[phase.name])
        own = "task" in phase.own
        written = (body if own else self.spec.document.tree).get("task")
        purpose = self.spec.purpose_of(phase).task
        said = within(purpose, phase.name)
        yield from self.itself(phase) if said != purpose else ()
        yield from unfed(graph, fields, said, section, place)
        where = f"phases.{phase.name}.task" if own else "task"
        task = Said(said, written, where, None if written is not None else place)
        yield from term_problems(self.sound([task]), values)
        yield from self.objective(phase, phase.name)

    def itself(self, phase: Phase) -> Iterator[Problem]:
        """What is wrong with a model that the task compares others with: it would be trained to be what it is."""
        how = FitSpec.from_spec(settings(self.spec.train, phase.options.get("train") or {}))
        own = [key for key in ("objective", "turns", "weights") if phase.options.get(key)]
        if own or not how.total_steps(1):
            return
        said = f"the task compares with '{phase.name}', which is trained for the task itself: it would learn nothing"
        hint = f"train: {{epochs: 0}} takes it as it is; {phase.name}: {{phase: train, objective: [...]}} trains it"
        yield Problem(said, self.spec.document.tree.get("phases").key_span(phase.name), hint=hint)

    def sound(self, objectives: Iterable[Said]) -> list[Said]:
        """Those that read no model of which it is told already what is wrong."""
        return [one for one in objectives if not any(owner(n, self.broken) for n in read(one.spec, one.path).needs)]

    def objective(self, phase: Phase, model: str) -> Iterator[Problem]:
        """What is wrong with the objectives of a phase that trains a model, or parts inside of it."""
        graph = self.graphs.get(model)
        if graph is None:
            return
        parts = phase.entry.name == "incubate"
        values = Values(
            graph, self.graphs, self.data[phase.name], self.spec.split if phase.entry.name in _INSIDE else ()
        )
        body = self.spec.document.tree.get("phases").get(phase.name)
        said = self.sound(_written(phase, body if isinstance(body, Map) else Map()))
        for slot in self.spec.split if parts else ("",):
            there = values if not parts else values.inside(slot, graph)
            if found := list(term_problems(said, there)):
                yield from found
                return


def _cannot_run(graph: Graph, phase: Phase) -> Iterator[Problem]:
    """What a step of the phase's model refuses."""
    try:
        shapes(graph)
    except ShapeError as error:
        whose = f"as phase '{phase.name}' has it, " if phase.changes else ""
        yield from (replace(p, message=f"{whose}{p.message}") for p in error.problems)


def _written(phase: Phase, body: Map) -> Iterator[Said]:
    """The objectives of a phase, those of its turns too."""
    where = f"phases.{phase.name}"
    if phase.options.get("objective"):
        yield Said(phase.options["objective"], body.get("objective"), f"{where}.objective")
    turns = body.get("turns")
    for n, turn in enumerate(phase.options.get("turns") or ()):
        place = turns.items[n] if isinstance(turns, Seq) else Leaf(None)
        yield Said(turn["objective"], _inner(place, "objective"), f"{where}.turns.{n}.objective")


def _inner(value: Value, key: str) -> Value | None:
    return value.get(key) if isinstance(value, Map) else None


def unfed(
    graph: Graph, fields: Mapping[str, TensorType], task: Spec, section: Map, place: Span | None
) -> Iterator[Problem]:
    """Inputs of evaluation alone that the data has no field for, where the task is measured in evaluation."""
    absent = [name for name, mode in graph.only if mode == "eval" and name in graph.input_names and name not in fields]
    own = {n for n in read(task, "task").needs if n not in fields or n in dict(graph.outputs)}
    evaluation = in_mode(graph, "eval")
    if not absent or not own <= set(dict(evaluation.outputs)):
        return  # as in training, or by the steps that it reads alone
    losses = [n for n, mode in graph.only if mode == "train" and n in dict(graph.outputs)]
    loss = losses[0] if losses else "loss"
    for name in (name for name in absent if name in evaluation.input_names):
        span = section.key_span(name) if name in section else place
        said = f"the model reads '{name}' in evaluation, where the task is measured, the data has {', '.join(fields)}"
        hint = f"task: {{value: {loss}}}, a value of training alone, is measured as in training, without '{name}'"
        yield Problem(said, span, hint=hint)


def input_problems(
    graph: Graph, fields: Mapping[str, TensorType], section: Map, edits: Value | None = None
) -> Iterator[Problem]:
    """Inputs of a model that the data has no field for, or one of another shape or kind of number.

    `section` is the recipe's `inputs:`, where they are written, and `edits` are the changes to an imported model.
    """
    bound = dict(graph.only)
    for name, kind in graph.inputs:
        span: Span | None = section.key_span(name) if name in section else section.span
        if name not in fields:
            if name not in bound:
                alike = [n for n, f in fields.items() if f.shape[1:] == kind.shape[1:] and f.dtype == kind.dtype]
                renamed = f"set: {{inputs.{name}: {alike[0]}}} gives it the name of the data's" if alike else ""
                usual = "a model's inputs are named as the fields of its data"
                hint = near(name, fields) or (renamed if not section else "") or usual
                yield Problem(f"the model reads '{name}', the data has {', '.join(fields)}", span, hint=hint)
            continue
        ours, theirs = kind.shape[1:], fields[name].shape[1:]
        if ours != theirs:
            hint = size_hint(graph, name, theirs, _renamed(edits, name) if isinstance(edits, Map) else "")
            yield Problem(f"the model wants '{name}' {list(ours)}, the data has {list(theirs)}", span, hint=hint)
        elif why := _refused(graph, name, fields[name]):
            said = f"the model reads '{name}' as {kind.dtype}, the data has {fields[name].dtype}: {why}"
            yield Problem(said, span, hint=f"write {{shape: ..., dtype: {fields[name].dtype}}} and what takes it")


def _renamed(edits: Map, name: str) -> str:
    """What an imported model itself calls an input that `set:` gives another name, or ""."""
    begin = "inputs."
    found = (key for key, value in edits if key.startswith(begin) and isinstance(value, Leaf) and value.value == name)
    return next(found, "").removeprefix(begin)


def _refused(graph: Graph, name: str, kind: TensorType) -> str:
    """Why the model cannot be computed of an input of this type, or ""."""
    if dict(graph.inputs)[name].dtype == kind.dtype:
        return ""
    try:
        shapes(replace(graph, inputs=tuple((n, kind if n == name else old) for n, old in graph.inputs)))
    except ShapeError as error:
        return error.problems[0].message
    return ""
