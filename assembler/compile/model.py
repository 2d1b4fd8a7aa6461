"""The modules that graphs become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import fx, nn

from assembler.compile.located import Located
from assembler.errors import InputError
from assembler.graph.core import Graph

AROUND = "_around"
"""Where a body has the modules of steps around it, which are no sub-modules of it."""


def graph_of(module: nn.Module, use: str) -> Graph:
    """The graph that a module was made of, which is there to `use`. Raises InputError for one not made here."""
    graph = getattr(module, "meta", {}).get("graph")
    if not isinstance(graph, Graph):
        what = f"a {type(module).__name__} that was not built here has no graph to {use}"
        raise InputError(what, hint="asm.build makes what has one, and asm.from_module(...).build()")
    return graph


class Model(Located):
    """A graph as straight-line code; `meta` has the graph, and the `frozen` steps, which stay in evaluation."""

    def __init__(self, root: nn.Module | dict[str, Any], graph: fx.Graph, class_name: str = "GraphModule") -> None:
        super().__init__(root, graph, class_name)
        if (lent := self._modules.pop(AROUND, None)) is not None:
            self.__dict__[AROUND] = lent

    @classmethod
    def _deepcopy_init(cls) -> Any:
        return Model.__init__

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all steps but the frozen ones."""
        super().train(mode)
        for path in self.meta.get("frozen", ()) if mode else ():
            self.get_submodule(path).eval()
        return self


class Switched(nn.Module):
    """A graph that runs other steps in training than in evaluation: two modules of the same sub-modules.

    Inputs that one mode has no use for may be left out.
    """

    def __init__(self, inputs: Sequence[str], train: Model, evaluation: Model, meta: Mapping[str, Any]) -> None:
        super().__init__()
        for module in (evaluation, train):
            _merge(self, module)
        self.inputs = tuple(inputs)
        self.meta = dict(meta)
        # beside the registered sub-modules, whose weights they share
        self.__dict__["modes"] = {True: train, False: evaluation}
        self.wanted = {mode: _inputs(module) for mode, module in self.__dict__["modes"].items()}

    def forward(self, *args: Any, **named: Any) -> Any:
        """What the graph makes in the mode that the module is in."""
        given = dict(zip(self.inputs, args, strict=False)) | named
        module = self.__dict__["modes"][self.training]
        wanted = self.wanted[self.training]
        missing = [name for name in wanted if given.get(name) is None]
        if missing:
            mode = "training" if self.training else "evaluation"
            hint = f"it takes {', '.join(wanted)}"
            if unused := [name for name in self.inputs[: len(args)] if name not in wanted]:
                what = f"{'the first argument is' if unused[0] == self.inputs[0] else 'an argument is'} '{unused[0]}'"
                hint = f"{what}, which {mode} does not take: give by name what it does, {wanted[0]}=..."
            raise InputError(f"the model needs {' and '.join(missing)} in {mode}", hint=hint)
        return module(**{name: given[name] for name in wanted})

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all steps but the frozen ones."""
        super().train(mode)
        modules = self.__dict__["modes"].values()
        for module in modules:
            module.train(mode)
        for path in [p for module in modules for p in module.meta["frozen"]] if mode else ():
            self.get_submodule(path).eval()  # each module has steps of the other too, in the containers of both
        return self


def _inputs(module: Model) -> tuple[str, ...]:
    return tuple(str(n.target) for n in module.graph.nodes if n.op == "placeholder")


def _merge(into: nn.Module, module: nn.Module) -> None:
    """Give `into` the sub-modules of `module`; plain containers that both have are joined."""
    for name, child in module.named_children():
        held = into._modules.get(name)
        if held is None or held is child:
            into.add_module(name, child)
        else:
            _merge(held, child)


Compiled = Model | Switched
"""What a graph is lowered to."""
