"""What the registry knows of a registered thing: its signature, read as a schema, and how to load it."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler.errors import AssemblerError
from assembler.registry.types import Type

REQUIRED = "<required>"


@dataclass(frozen=True, slots=True)
class Param:
    """One argument: its name in recipes, its type, its default, and where it comes from when it is not written.

    `argument` is the callable's own name for it (a recipe's `out` is `out_channels` of `torch.nn.Conv2d`);
    `inferred` is "" or where the value is read from ("axis 1", "axis -1", "shape", "shapes").
    """

    name: str
    type: Type
    default: Any = REQUIRED
    argument: str = ""
    inferred: str = ""

    @property
    def required(self) -> bool:
        """Whether a recipe has to write it."""
        return self.default == REQUIRED and not self.inferred


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered op, loss, data set, sampler, optimiser or phase, known by its signature alone.

    `inputs` are the names of its tensor inputs (`variadic` if it takes any number); `module` and `qualname` say
    where the code lies; `code` is a digest of its source, which the results that depend on it are keyed by.
    """

    kind: str
    name: str
    params: tuple[Param, ...]
    inputs: tuple[str, ...] = ()
    variadic: bool = False
    optional: int = 0
    doc: str = ""
    module: str = ""
    qualname: str = ""
    file: str = ""
    source: str = field(default="", repr=False)
    options: tuple[tuple[str, Any], ...] = ()
    live: Any = field(default=None, compare=False)
    shape: str = "function"

    @property
    def code(self) -> str:
        """A digest of the source, which the results that depend on it are keyed by."""
        return digest(self.source)

    def param(self, name: str) -> Param | None:
        """The parameter that a recipe calls `name` (its own name for it counts too)."""
        for p in self.params:
            if name in (p.name, p.argument):
                return p
        return None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names that a recipe has reason to write: all but what is read from the input's shape."""
        return tuple(p.name for p in self.params if not p.inferred)

    @property
    def has_body(self) -> bool:
        """Whether a step of this op holds a sub-graph, under `body:`."""
        return any(p.inferred == "body" for p in self.params)

    def outputs(self, args: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The names of what a step with these arguments makes; None for one tensor, () for a number known later.

        They are the decorator's `outputs=("values", "indices")`, `outputs="numbered"`, or, for an op whose arguments
        list them, `outputs_from=("carry", "collect")`.
        """
        if lists := self.option("outputs_from"):
            said = [args.get(key) for key in lists]
            return tuple(name for names in said if isinstance(names, tuple | list) for name in names)
        said = self.option("outputs")
        return () if said == "numbered" else said

    @property
    def of_body(self) -> tuple[str, ...]:
        """The arguments that name outputs of the body; `inputs_from=("by",)` says which name inputs instead."""
        lists = (*(self.option("outputs_from") or ()), *(self.option("asks") or ()))
        return tuple(key for key in lists if key not in (self.option("inputs_from") or ()))

    @property
    def makes(self) -> str:
        """What an op with several outputs makes, in words; "" for one that makes one tensor."""
        if lists := self.option("outputs_from"):
            return f"those that {' and '.join(lists)} name"
        said = self.option("outputs")
        return "by number, 0 the first" if said == "numbered" else ", ".join(said or ())

    def option(self, name: str, default: Any = None) -> Any:
        """A keyword given to the decorator, for instance `commutative=True`."""
        return dict(self.options).get(name, default)

    def load(self) -> Any:
        """The function or class itself; this imports the module that defines it, and torch with it."""
        if self.live is not None:
            return self.live
        module = sys.modules.get(self.module) or _import(self.module, self.file)
        found: Any = module
        for part in self.qualname.split("."):
            found = getattr(found, part)
        return found


def _import(module: str, file: str) -> Any:
    if not module.startswith("plugin_"):
        return importlib.import_module(module)
    spec = importlib.util.spec_from_file_location(module, file)
    if spec is None or spec.loader is None:
        raise AssemblerError(f"cannot import the plug-in {file}")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@functools.cache
def digest(text: str) -> str:
    """A short digest of source text."""
    import hashlib  # brings OpenSSL, which checking a recipe does without

    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
