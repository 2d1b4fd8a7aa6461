"""The machine's form of a model: a frozen, hashable graph of named nodes. Every edit returns a new graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from assembler.errors import GraphError, Span, near

ITEM = "item"
"""The op that reads a further output of a step that has several."""
SWITCH = "switch"
"""The op that has one input's value in training and the other's in evaluation."""

Arg = None | bool | int | float | str | tuple["Arg", ...]
"""What an argument may be once it is evaluated: scalars and tuples of them."""


Init = tuple[str, tuple[tuple[str, Arg], ...]]
"""A parameter and how it begins: (("name", an initialiser's), then its arguments, sorted)."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and dtype of a value. Axis 0 of a graph's inputs is the batch, whatever number stands there."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Node:
    """One step: an op, its evaluated arguments (sorted by name, defaults left out) and where its inputs come from.

    `inputs` pairs each of the op's input names with the id of a node or graph input; a variadic op's are "0", "1", ...
    The value of a node is its first output; an `item` node reads another. `body` is the sub-graph of an op that calls
    one: its inputs bear the names of this node's inputs. `share` says whose weights it uses: (("", "a.b"),) all those
    of step `a.b`, (("weight", "a.b.weight"),) for one parameter. A `frozen` step is not trained and stays in
    evaluation. `init` says how parameters begin that the op would draw otherwise. `span` is provenance: it plays no
    part in equality, hash or fingerprint.
    """

    op: str
    args: tuple[tuple[str, Arg], ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)
    body: Graph | None = None
    share: tuple[tuple[str, str], ...] = ()
    frozen: bool = False
    init: tuple[Init, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The ids that this node reads, in order, repeats kept."""
        return tuple([source for _, source in self.inputs])

    @property
    def owner(self) -> str:
        """The step whose weights this one uses as a whole, or ""."""
        return next((path for name, path in self.share if not name), "")

    def arg(self, name: str, default: Any = None) -> Any:
        """The argument of that name, or `default` where it is not written."""
        return dict(self.args).get(name, default)

    def reading(self, moved: Mapping[str, str]) -> Node:
        """The node with other sources, by the ids of those it has; itself where none of them moved."""
        inputs = tuple([(port, moved.get(source, source)) for port, source in self.inputs])
        return self if inputs == self.inputs else replace(self, inputs=inputs)


@dataclass(frozen=True, slots=True)
class Graph:
    """A model: typed inputs, nodes in topological order, named outputs.

    A node's id is its recipe path (`stage.2.block.0.mix.token`). `names` maps the path of a container (`stage.2`) to
    the node that holds its value. `only` lists the inputs and outputs that there are in one mode alone, with that mode
    ("train" or "eval"). Names of inputs and outputs with dots (`cache.k`, `hidden.0`) are nested mappings and lists to
    the caller. Nodes are shared between a graph and its edits.
    """

    inputs: tuple[tuple[str, TensorType], ...]
    nodes: Mapping[str, Node]
    outputs: tuple[tuple[str, str], ...]
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    name: str = field(default="model", compare=False)
    only: tuple[tuple[str, str], ...] = ()
    _fingerprint: str = field(default="", init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))

    def __hash__(self) -> int:
        return hash((self.inputs, tuple(self.nodes.items()), self.outputs, self.only))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        mine, theirs = list(self.nodes.items()), list(other.nodes.items())
        return (self.inputs, self.outputs, self.only, mine) == (other.inputs, other.outputs, other.only, theirs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, (self.inputs, dict(self.nodes), self.outputs, dict(self.names), self.name, self.only)

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        return iter(self.nodes.items())

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the graph's inputs."""
        return tuple(name for name, _ in self.inputs)

    def resolve(self, path: str) -> str:
        """The id of the node or input that holds the value at `path`, which may name a container.

        Raises GraphError with the nearest paths where there is none.
        """
        if path in self.nodes or path in self.input_names:
            return path
        if path in self.names:
            return self.names[path]
        known = [*self.nodes, *self.names, *self.input_names]
        hint = near(path, known) or "`assembler show` lists the paths"
        raise GraphError(f"there is no step '{path}' in {self.name}", hint=hint)

    def region(self, path: str) -> tuple[str, ...]:
        """The ids of the node at `path` and of everything under it, or of the run `first..last`, in order."""
        if ".." in path:
            from assembler.graph.runs import steps_of

            return steps_of(self, path)
        prefix = f"{path}."
        found = tuple(i for i in self.nodes if i == path or i.startswith(prefix))
        if not found:
            self.resolve(path)
        return found

    def users(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """For every node and input, the (user id, input name) pairs that read it."""
        found: dict[str, list[tuple[str, str]]] = {i: [] for i in (*self.input_names, *self.nodes)}
        for i, node in self.nodes.items():
            for port, source in node.inputs:
                found[source].append((i, port))
        return {i: tuple(u) for i, u in found.items()}

    def replace(self, path: str, *, op: str | None = None, **args: Arg) -> Graph:
        """This graph with the step at `path` changed: another `op` (its arguments are then `args` alone) or other args.

        A container is replaced as a whole by the one step. The result is verified.
        """
        from assembler.graph.edit import replace_step

        return replace_step(self, path, op, args)

    @property
    def fingerprint(self) -> str:
        """A digest that names and the order of independent branches do not change, and everything else does."""
        if not self._fingerprint:
            from assembler.graph.fingerprint import fingerprint

            object.__setattr__(self, "_fingerprint", fingerprint(self))
        return self._fingerprint

    def __str__(self) -> str:
        from assembler.graph.text import to_text

        return to_text(self)
