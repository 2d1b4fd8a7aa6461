"""The lines of one class's forward."""

from __future__ import annotations

import itertools
import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from assembler.compile.literal import plain
from assembler.compile.source.checks import checked
from assembler.compile.source.classes import Class, Classes
from assembler.compile.source.element import Element, Run, elements, numbered, runs
from assembler.compile.source.forms import Forms, Lines, kind_of
from assembler.compile.source.lines import broken
from assembler.compile.source.names import Names, Shapes, commented, short
from assembler.compile.source.place import GRADIENT, LOOP, Place
from assembler.graph.structure import pack
from assembler.registry import lookup


@dataclass
class Forward:
    """Writes the steps of a class: `values` are the texts of all values so far, `counts` the lengths of ModuleLists."""

    made: Class
    classes: Classes
    names: Names
    shapes: Shapes
    counts: Mapping[str, int]
    values: dict[Place, dict[str, str]] = field(default_factory=dict)
    spare: dict[str, tuple[Place, str]] = field(default_factory=dict)
    last: str = ""
    started: set[tuple[Place, str]] = field(default_factory=set)

    @property
    def forms(self) -> Forms:
        """The texts of steps."""
        return self.classes.units.forms

    # -- the steps ---------------------------------------------------------------------------------------------------

    def steps(self, place: Place, ids: Sequence[str], root: str, indent: str) -> Iterator[str]:
        """The lines of some steps, those of one mode alone under an `if`."""
        unit = self.made.unit
        called = place is unit.place and unit.path != ""  # who calls the class has asked for its mode already
        found = list(elements(self.classes, place, ids, root))
        for mode, group in itertools.groupby(found, lambda e: e.mode):
            if mode == "train" and place.frozen:
                continue
            asked = mode and not place.frozen and not called
            if asked:
                yield f"{indent}if {'' if mode == 'train' else 'not '}self.training:"
            deeper = f"{indent}    " if asked else indent
            self.last = mode
            joined = list(runs(self.classes, list(group)))
            self.started |= {(place, s) for r in joined if isinstance(r, Run) for s in r.starts}
            for element in joined:
                yield from self.run(element, deeper) if isinstance(element, Run) else self.element(element, deeper)

    def element(self, element: Element, indent: str) -> Iterator[str]:
        """The lines of a step or of the call of a class."""
        place, i = element.place, element.path
        values = self.values[place]
        if element.made:
            alone = i if len(element.exports) == 1 else ""
            kept = [self.variable(place, e, element.ids, alone) for e in element.exports]
            given = ", ".join(values[s] for s in element.sources)
            line = f"{indent}{', '.join(kept)} = {self.access(self.module(place, element.target))}({given})"
            values |= zip(element.exports, kept, strict=True)
            yield commented(line, self.said(place, element.exports[-1]) if len(kept) == 1 else "")
            return
        kind = kind_of(place.node(i))
        if kind in (LOOP, GRADIENT):
            yield from self.body(kind)(self, place, i, indent)
        elif kind == "check":
            yield from self.check(place, i, indent)
        elif kind == "switch":
            sources = dict(place.node(i).inputs)
            frozen = place.frozen or place.node(i).frozen
            only = "eval" if frozen else place.mode(i)  # what no mode needs is not computed
            text = values[sources[only]] if only else f"{values[sources['train']]} if self.training else "
            text += "" if only else values[sources["eval"]]
            yield from self.assigned(place, i, [("", text)], indent)
        elif kind == "module":
            text = self.access(self.module(place, element.target))
            if not lookup("op", place.node(i).op).option("bare"):  # a tensor is no call
                text += f"({self.forms.call(place, i, values)})"
            yield from self.assigned(place, i, [("", text)], indent)
        elif kind == "function":
            name = self.variable(place, i)
            leaf = self.made.writer(self.address(place, i), forward=True)
            yield from self.assigned(place, i, self.forms.lines(place, i, values, name, leaf), indent, name)

    def body(self, kind: str) -> Callable[[Forward, Place, str, str], Iterator[str]]:
        """What writes the lines of a step whose body is written inline."""
        from assembler.compile.source.gradients import gradient
        from assembler.compile.source.loops import loop

        return loop if kind == LOOP else gradient

    def check(self, place: Place, i: str, indent: str) -> Iterator[str]:
        """The lines of a step that passes its input on where its sizes are right."""
        source, values = place.node(i).sources[0], self.values[place]
        yield from checked(place.run(i)[0].limits, len(place.types[source].shape), values[source], self.names, indent)
        values[i] = values[source]
        if self.spare.get(values[source]) == (place, source) and self.classes.units.readers(place, source) == [i]:
            self.spare[values[source]] = place, i

    def assigned(self, place: Place, i: str, lines: Lines, indent: str, name: str = "") -> Iterator[str]:
        """The last of some expressions as the value of a step, taken apart where it has several outputs."""
        *before, (_, text) = lines
        yield from (f"{indent}{v} = {t}" for v, t in before)
        outputs = place.outputs(i)
        items = place.items.get(i, {})
        name = name or self.variable(place, i)
        self.values[place][i] = name
        if outputs is None:
            yield commented(f"{indent}{name} = {text}", self.said(place, i))
            return
        said = [
            name if n == 0 else self.variable(place, items[o]) if o in items else "_" for n, o in enumerate(outputs)
        ]
        self.values[place] |= {items[o]: v for o, v in zip(outputs, said, strict=True) if o in items}
        paths = lookup("op", place.node(i).op).option("paths")
        pattern = _pattern(paths, said) if paths else f"{', '.join(said)}{',' * (len(said) == 1)}"
        yield commented(f"{indent}{pattern} = {text}", self.said(place, i))

    def run(self, run: Run, indent: str) -> Iterator[str]:
        """A run of copies as a loop."""
        first, last = run.elements[0], run.elements[-1]
        values = self.values[first.place]
        carried = sorted({c for c in run.carried if c is not None})
        starts = {c: s for c, s in zip(run.carried, first.sources, strict=True) if c is not None}
        inside = {i for e in run.elements for i in e.ids}
        kept = [
            self.held(first.place, starts[n], e, inside)
            if n in carried
            else self.variable(first.place, e)
            if self.read(last, e)
            else "_"
            for n, e in enumerate(last.exports)
        ]
        begun = [(kept[c], values[starts[c]]) for c in carried if kept[c] != values[starts[c]]]
        if begun:
            yield f"{indent}{', '.join(a for a, _ in begun)} = {', '.join(b for _, b in begun)}"
        given = [values[s] if c is None else kept[c] for c, s in zip(run.carried, first.sources, strict=True)]
        head, callee = self.over(run)
        yield f"{indent}{head}"
        told = {self.said(e.place, x) for e in run.elements for x in e.exports}
        line = f"{indent}    {', '.join(kept)} = {callee}({', '.join(given)})"
        yield commented(line, told.pop() if len(told) == 1 else "")
        values |= zip(last.exports, kept, strict=True)

    def over(self, run: Run) -> tuple[str, str]:
        """The head of a loop over modules, and what each is called."""
        place, first = run.elements[0].place, run.elements[0].target
        if run.repeats:
            return f"for _ in range({len(run.elements)}):", self.access(self.module(place, first))
        container, number, inner = numbered(self.module(place, first))
        start, stop = number, number + len(run.elements)
        over, count = self.access(container), self.counts.get(container, 0)
        if not count:
            n = self.names.again("n")
            return f"for {n} in range({start}, {stop}):", f"{over}[{n}]{inner}"
        here = "" if (start, stop) == (0, count) else f"[{start or ''}:{stop if stop < count else ''}]"
        name = self.names.again(container.rsplit(".", 1)[-1])
        return f"for {name} in {over}{here}:", f"{name}{inner}"

    def variable(self, place: Place, i: str, ids: Sequence[str] = (), called: str = "") -> str:
        """The variable of a step's value: of its name, or for what a loop begins with one that is written over."""
        if (place, i) in self.started:
            return self.held(place, "", i, {*(ids or (i,))})
        return self.names.new(short(self.address(place, called or i).split("/")[-1] or i.split(".")[-1]))

    def held(self, place: Place, source: str, i: str, ids: Set[str]) -> str:
        """A variable for the value `i`: that of `source`, or of anything that nothing but the steps `ids` reads."""
        for name, (where, j) in self.spare.items():
            fits = source in ("", j) and where is place
            if fits and all(r in ids for r in self.classes.units.readers(place, j)):
                self.spare[name] = place, i
                return name
        name = self.names.new(*"xyz", i)
        self.spare[name] = place, i
        return name

    def read(self, element: Element, i: str) -> bool:
        """Whether something after an element reads what it makes."""
        return any(r not in element.ids for r in self.classes.units.readers(element.place, i))

    # -- names -------------------------------------------------------------------------------------------------------

    def address(self, place: Place, i: str) -> str:
        """Where a step stands in the class."""
        if place is self.made.unit.place:
            return self.made.unit.address(i)
        assert place.parent is not None
        return f"{self.address(place.parent, place.step)}/{i}"

    def said(self, place: Place, i: str) -> str:
        """The type of a step's value."""
        return self.shapes.step(self.address(place, i))

    def module(self, place: Place, path: str) -> str:
        """The path of a sub-module in the class."""
        return module_path(self.made, self.forms, place, path)

    def access(self, path: str) -> str:
        """How forward reaches a sub-module: `self.stage[2].block[0].norm`."""
        return access(path, joins(self.made, self.forms))

    # -- the frame ---------------------------------------------------------------------------------------------------

    def head(self) -> list[str]:
        """The signature, and lines that take nested inputs apart."""
        unit = self.made.unit
        values = self.values.setdefault(unit.place, {})
        if unit.path:
            return self._parameters(unit.inputs, values)
        graph = unit.place.graph
        when, lines = dict(graph.only), []
        given, optional = [], False
        for name, inner in pack((n, n) for n in graph.input_names).items():
            self.names.taken.add(name)
            optional = optional or name in when
            kind = _kind(inner)
            given.append(f", {name}: {kind}{' | None = None' if optional else ''}")
            lines += self._entering(name, inner, values)
            if name == inner == "x" and not optional:
                self.spare[name] = unit.place, name
        bare = len(graph.outputs) == 1 and "." not in graph.outputs[0][0] and unit.place.parent is None
        made = "Tensor" if bare else _kind(pack(graph.outputs))
        shapes = [f"{n}: {self.shapes.input(k)}" for k, n in enumerate(graph.input_names)]
        return [f"    def forward(self{''.join(given)}) -> {made}:", f"        # {', '.join(shapes)}", *lines]

    def _parameters(self, inputs: Sequence[str], values: dict[str, str]) -> list[str]:
        columns = zip(*(unit.inputs for unit in self.made.units), strict=True)
        for source, column in zip(inputs, columns, strict=True):
            last = {s.split(".")[-1] for s in column}
            alone = len(inputs) > 1 and len(last) == 1 and len(set(column)) == 1
            values[source] = self.names.new(last.pop() if alone else "x", "y", "z", "x2")
            self.spare[values[source]] = self.made.unit.place, source
        given = "".join(f", {values[s]}: Tensor" for s in inputs)
        made = "Tensor" if len(self.made.exports) == 1 else f"tuple[{', '.join(['Tensor'] * len(self.made.exports))}]"
        shapes = [f"{values[s]}: {self.shapes.input(k)}" for k, s in enumerate(inputs) if self.shapes.input(k)]
        said = [f"        # {', '.join(shapes)}"] if shapes else []
        return [f"    def forward(self{given}) -> {made}:", *said]

    def _entering(self, text: str, inner: Any, values: dict[str, str]) -> list[str]:
        """Statements that name the parts of a nested input."""
        if isinstance(inner, str):
            if inner == text:
                values[inner] = inner
                return []
            values[inner] = text
            if len(self.classes.units.readers(self.made.unit.place, inner)) < 2:
                return []
            values[inner] = self.names.new(inner)
            return [f"        {values[inner]} = {text}"]
        pairs = inner.items() if isinstance(inner, dict) else enumerate(inner)
        return [line for key, part in pairs for line in self._entering(f"{text}[{plain(key)}]", part, values)]

    def returned(self, indent: str = "        ") -> list[str]:
        """The return statements: one, or one for each mode."""
        unit = self.made.unit
        values = self.values[unit.place]
        if unit.path:
            return [f"{indent}return {', '.join(values[unit.at(a)] for a in self.made.exports)}"]
        graph = unit.place.graph
        if len(graph.outputs) == 1 and "." not in graph.outputs[0][0] and unit.place.parent is None:
            return [f"{indent}return {values[graph.outputs[0][1]]}"]
        when = dict(graph.only)
        if not any(name in when for name, _ in graph.outputs):
            return broken(f"return {_nested(pack((n, values[i]) for n, i in graph.outputs))}", indent)
        lines = []
        for mode, deeper in (("train", f"{indent}    "), ("eval", indent)):
            ends = [(n, values[i]) for n, i in graph.outputs if when.get(n, mode) == mode]
            lines += [f"{indent}if self.training:"] if mode == "train" != self.last else []
            lines += broken(f"return {_nested(pack(ends))}", deeper)
        return lines


def module_path(made: Class, forms: Forms, place: Place, path: str) -> str:
    """The path of a sub-module in a class; `path` is a step of the place, or one of another as it is shared there."""
    place, path = place.at(path)
    if place is made.unit.place:
        return made.unit.address(path)
    assert place.parent is not None
    return f"{module_path(made, forms, place.parent, forms.owner(place.parent, place.step))}.{path}"


def joins(made: Class, forms: Forms) -> frozenset[str]:
    """The paths of a class's sub-modules that are ops' own."""
    found = set()
    for _, place, i in made.unit.walk():
        if _within(made, place) and kind_of(place.node(i)) == "module":
            found.add(module_path(made, forms, place, forms.owner(place, i)))
    return frozenset(found)


def _within(made: Class, place: Place) -> bool:
    while place is not made.unit.place:
        if not place.inline or place.parent is None:
            return False
        place = place.parent
    return True


def access(path: str, held: frozenset[str], text: str = "self") -> str:
    """How to reach a sub-module; `held` are the paths of ops, which are not indexed."""
    plain, here = False, ""
    for part in path.split("."):
        here = f"{here}.{part}" if here else part
        if part.isidentifier() and not keyword.iskeyword(part):
            text += f".{part}"
        elif plain:
            text += f"[{part}]" if part.isdecimal() and str(int(part)) == part else f'["{part}"]'
        else:
            text += f'.get_submodule("{part}")'
        plain = here not in held
    return text


def _kind(values: Any) -> str:
    """The type of a nested value."""
    if isinstance(values, str):
        return "Tensor"
    kinds = {_kind(v) for v in (values.values() if isinstance(values, dict) else values)}
    inner = kinds.pop() if len(kinds) == 1 else "Any"
    return f"dict[str, {inner}]" if isinstance(values, dict) else f"list[{inner}]"


def _nested(values: Any) -> str:
    if isinstance(values, dict):
        return f"{{{', '.join(f'{plain(k)}: {_nested(v)}' for k, v in values.items())}}}"
    return f"[{', '.join(_nested(v) for v in values)}]" if isinstance(values, list) else str(values)


def _pattern(paths: Sequence[tuple[int, ...]], names: Sequence[str]) -> str:
    """Names as the nested tuple in which they lie: ((0,), (1, 0), (1, 1)) is `a, (b, c)`."""
    found = []
    for n in range(1 + max(p[0] for p in paths)):
        inner = [(p[1:], name) for p, name in zip(paths, names, strict=True) if p[0] == n]
        nested = len(inner[0][0]) > 0
        found.append(f"({_pattern([p for p, _ in inner], [m for _, m in inner])})" if nested else inner[0][1])
    return ", ".join(found)
