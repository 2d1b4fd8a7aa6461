"""The text of one class: its sub-modules, weights that are one, steps that are frozen, and its forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from assembler.compile.literal import plain
from assembler.compile.source.classes import Class, Classes
from assembler.compile.source.constructor import Tree, attributes, copies, plant
from assembler.compile.source.element import Element, elements
from assembler.compile.source.forms import Made, kind_of
from assembler.compile.source.forward import Forward, access, joins, module_path
from assembler.compile.source.lines import WIDTH
from assembler.compile.source.names import Names, Shapes
from assembler.compile.source.place import GRADIENT, LOOP, Place
from assembler.graph.shares import TRANSPOSED, owner_of
from assembler.infer.ties import transposed


@dataclass
class ClassText:
    """Writes a class of the file; `globals` are the names that the file has."""

    made: Class
    classes: Classes
    globals: set[str]
    batch: int
    tree: Tree = field(default_factory=dict)
    borrowed: set[str] = field(default_factory=set)

    def text(self, doc: str) -> str:
        """The class."""
        unit = self.made.unit
        self._plant(unit.place, unit.ids, unit.path)
        shapes = Shapes(self.made, self.batch)
        forward = Forward(
            self.made, self.classes, Names({*self.globals, "self"}), shapes, dict(_counts(self.tree, "")), {}
        )
        head = forward.head()
        if any(kind_of(place.node(i)) == GRADIENT for _, place, i in unit.walk()):
            head.insert(0, "    @torch.compiler.disable")  # which cannot follow gradients twice
        steps = list(forward.steps(unit.place, unit.ids, unit.path, "        "))
        body = [*head, *steps, *forward.returned()]
        lines = [f"class {self.made.name}(nn.Module):", f'    """{doc}"""', "", *self._init(), "", *body]
        frozen = () if unit.path else tuple(self._frozen())
        return "\n".join([*lines, *(_TRAIN.format(steps=_listed(frozen)) if frozen else "").splitlines()])

    # -- __init__ ----------------------------------------------------------------------------------------------------

    def _init(self) -> list[str]:
        unit = self.made.unit
        given = "".join(f", {name}: {_annotation(self.made.values(name))}" for name in self.made.arguments)
        head = f"    def __init__(self{given}) -> None:"
        if len(head) > WIDTH:
            head = "\n".join(
                ["    def __init__(", *(f"        {p}," for p in f"self{given}".split(", ")), "    ) -> None:"]
            )
        lines = [head, "        super().__init__()"]
        lines += [f"        self.{name} = {name}" for name in self.made.arguments if name in self.made.stored]
        lines += attributes(self.tree)
        if not unit.path:
            lines += [f"        {line}" for line in dict.fromkeys(self._ties())]
            frozen = tuple(self._frozen())
            lines += [f"        for path in {_listed(frozen)}:", _FROZEN] if frozen else []
        return lines

    def _plant(self, place: Place, ids: tuple[str, ...], root: str) -> None:
        """Put everything that has weights of its own into the tree."""
        for element in elements(self.classes, place, ids, root):
            path = module_path(self.made, self.classes.units.forms, place, element.path)
            if element.target != element.path:
                self.borrowed.add(path)
                continue
            kind = "unit" if element.made else kind_of(place.node(element.path))
            if kind in (LOOP, GRADIENT):
                body = place.bodies[element.path]
                self._plant(body, tuple(body.graph.nodes), "")
            elif kind in ("unit", "module"):
                plant(self.tree, path, self._made(element))

    def _made(self, element: Element) -> Made:
        """What makes the module of an element."""
        place, forms = element.place, self.classes.units.forms
        if element.made:
            return self._instance(*element.made, self._address(place, element.path))
        address = self._address(place, element.path)
        body = ""
        if element.path in place.bodies:
            found = self.classes.of(place.bodies[element.path], "")
            assert found is not None
            inner = self._instance(*found, f"{address}/")
            body = inner.callee if not inner.keywords else f"lambda: {inner}"
        return forms.made(place, element.path, self.made.writer(address), body)

    def _instance(self, made: Class, unit: Any, address: str) -> Made:
        """The call of a class for one of its units, which stands at `address` in this one."""
        keywords = []
        for name, (inner, n) in made.arguments.items():
            there = f"{address}{inner}" if address.endswith("/") else f"{address}.{inner}" if inner else address
            found = self.made.named.get((there, n))
            keywords.append((name, self.made.argument(found) if found else plain(unit.leaves[inner][n][0])))
        return Made(made.name, tuple(keywords))

    def _address(self, place: Place, path: str) -> str:
        if place is self.made.unit.place:
            return self.made.unit.address(path)
        assert place.parent is not None
        return f"{self._address(place.parent, place.step)}/{path}"

    # -- shared and frozen weights -----------------------------------------------------------------------------------

    def _own(self, place: Place | None = None) -> Iterator[tuple[Place, str]]:
        """The steps whose modules lie in this class, those in loops too, each before those that may share it."""
        place = place or self.made.unit.place
        for i in place.graph.nodes:
            if i in place.bodies and place.bodies[i].inline:
                yield from self._own(place.bodies[i])
            yield place, i

    def _ties(self) -> Iterator[str]:
        forms = self.classes.units.forms
        held = joins(self.made, forms)
        for place, i in self._own():
            node = place.node(i)
            for name, path in node.share if not node.owner else ():
                there, last = place.at(path)
                owner, parameter = owner_of(last, there.graph.nodes)
                ours, theirs = (
                    f"{module_path(self.made, forms, where, step)}.{inner}"
                    for where, step, inner in ((place, i, name), (there, forms.owner(there, owner), parameter))
                )
                if theirs.endswith(TRANSPOSED):
                    yield self._transposed(ours, theirs.removesuffix(TRANSPOSED), held)
                else:
                    yield f"{access(ours, held)} = {access(theirs, held)}"

    def _transposed(self, ours: str, theirs: str, held: frozenset[str]) -> str:
        """The call that makes one matrix another's, transposed."""
        call = self.classes.units.forms.embedding.add(transposed)
        given = [f"{access(p.rpartition('.')[0], held)}, {plain(p.rpartition('.')[2])}" for p in (ours, theirs)]
        return f"{call}({', '.join(given)})"

    def _frozen(self) -> Iterator[str]:
        """The fewest paths that hold the frozen steps and no others."""
        forms = self.classes.units.forms
        kept: dict[str, bool] = {}
        for place, i in self._own():
            if kind_of(place.node(i)) == "module" and forms.owner(place, i) == i:
                path = module_path(self.made, forms, place, i)
                if not any(f"{path}.".startswith(f"{other}.") for other in self.borrowed):
                    kept[path] = place.node(i).frozen or place.frozen
        told: set[str] = set()
        for path, frozen in kept.items():
            if frozen:
                parts = path.split(".")
                ways = [".".join(parts[: n + 1]) for n in range(len(parts))]
                top = next(w for w in ways if all(f for p, f in kept.items() if p == w or p.startswith(f"{w}.")))
                if top not in told:
                    told.add(top)
                    yield top


def _counts(tree: Tree, path: str) -> Iterator[tuple[str, int]]:
    """The ModuleLists of a tree, by path, with their lengths."""
    for name, inner in tree.items():
        here = f"{path}.{name}" if path else name
        if isinstance(inner, dict):
            if copies(inner):
                yield here, copies(inner)
            yield from _counts(inner, here)


def _annotation(values: tuple[Any, ...]) -> str:
    kinds = {"None" if v is None else type(v).__name__ for v in values}
    kinds -= {"int"} if "float" in kinds else set()
    return " | ".join(sorted(kinds, key=lambda kind: (kind == "None", kind)))


def _listed(paths: tuple[str, ...]) -> str:
    return "(" + "".join(f'"{p}", ' for p in paths).rstrip(" " if len(paths) == 1 else ", ") + ")"


_FROZEN = "            self.get_submodule(path).requires_grad_(False).eval()"
_TRAIN = '''
    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode of all steps but the frozen ones."""
        super().train(mode)
        for path in {steps}:
            self.get_submodule(path).eval()
        return self
'''
