"""A graph computed the slow and obvious way: node by node, with a dictionary of values and nothing compiled.

It knows of the package what an op's callable and signature are, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from assembler.graph.core import Graph, Node
from assembler.registry import Entry, lookup

Values = dict[str, Tensor]


class Level(NamedTuple):
    """A graph that is being run, what stands before the paths of its steps, and whether all of it is frozen."""

    graph: Graph
    prefix: str = ""
    frozen: bool = False


class Reference:
    """A graph with the weights of `state` (by recipe path), in double precision.

    `modules` are those of the steps that have run so far, by recipe path; `held` are the bodies among them of which
    both modes have run. Widths are read from the tensors themselves.
    """

    def __init__(self, graph: Graph, state: Mapping[str, Tensor]) -> None:
        self.graph = graph
        self.state = state
        self.modules: dict[str, nn.Module] = {}
        self.held: set[str] = set()

    def __call__(self, inputs: Values, *, training: bool) -> Values:
        """The outputs of this mode by dotted name; `inputs` as well."""
        return self._run((Level(self.graph),), inputs, training)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter under every recipe path that it has."""
        return {
            f"{path}.{name}": parameter
            for path, module in self.modules.items()
            for name, parameter in module.named_parameters(remove_duplicate=False)
        }

    def tensors(self) -> Values:
        """What the compiled module's `state_dict` has to hold."""
        return {f"{path}.{k}": v for path, module in self.modules.items() for k, v in module.state_dict().items()}

    def _run(self, levels: tuple[Level, ...], inputs: Values, training: bool) -> Values:
        values, several, graph = dict(inputs), {}, levels[-1].graph
        ends = [(name, i) for name, i in graph.outputs if dict(graph.only).get(name) in (None, _mode(training))]
        for i in _needed(graph, [i for _, i in ends], training):
            node = graph.nodes[i]
            if node.op == "item":
                values[i] = several[node.inputs[0][1]][dict(node.args)["output"]]
            elif node.op == "switch":
                values[i] = values[_chosen(node, training)]
            else:
                given = {port: values[source] for port, source in node.inputs}
                several[i] = self._step(levels, i, given, training and not node.frozen)
                values[i] = next(iter(several[i].values()))
        return {name: values[i] for name, i in ends}

    def _step(self, levels: tuple[Level, ...], i: str, given: Values, training: bool) -> Values:
        node = levels[-1].graph.nodes[i]
        there, whole = _led(levels, dict(node.share).get("", i))
        owner = there[-1].graph.nodes[whole]
        frozen = owner.frozen or there[-1].frozen
        if node.op in ("loop", "experts"):
            run = self._loop if node.op == "loop" else self._experts
            inside = Level(node.body, f"{there[-1].prefix}{whole}.", frozen)
            made = run(node, levels, inside, given, training)
            if (
                inside.prefix not in self.held
            ):  # a body has modes of its own, whichever of them the graph around it runs
                self.held.add(inside.prefix)
                self._unseen(lambda: run(node, levels, inside, given, not training))
            return made
        entry = lookup("op", node.op)
        call = entry.load()
        bound = _arguments(entry, owner, list(given.values()))
        if entry.shape == "function":
            return _named(entry, node, _called(entry, call, given, bound))
        module = self._module(there, whole, lambda: call(**bound))
        for name, target in owner.share:
            if target.endswith(".T"):
                module.__dict__[name] = self._tied(there, target.removesuffix(".T")).T
        module.train(training and not frozen)
        return _named(entry, node, _called(entry, module, given, {}))

    def _unseen(self, run: Callable[[], object]) -> None:
        """Run something for the modules that it makes, without a trace in the statistics of those that there are."""
        inner = [module for one in self.modules.values() for module in one.modules()]
        kept = [(module, name, buffer) for module in inner for name, buffer in module.named_buffers(recurse=False)]
        for module, name, buffer in kept:
            module._buffers[name] = buffer.clone()
        before = set(self.modules)
        with torch.no_grad():
            run()
            for path in self.modules.keys() - before:
                for name, buffer in self.modules[path].named_buffers():
                    buffer.copy_(self.state[f"{path}.{name}"])
        for module, name, buffer in kept:
            module._buffers[name] = buffer

    def _module(self, levels: tuple[Level, ...], i: str, make: Any) -> nn.Module:
        path, node = f"{levels[-1].prefix}{i}", levels[-1].graph.nodes[i]
        if path not in self.modules:
            module = make().double()
            own = {k.removeprefix(f"{path}."): v for k, v in self.state.items() if k.startswith(f"{path}.")}
            for name, target in node.share:
                if target.endswith(".T"):
                    delattr(module, name)
            module.load_state_dict({k: own[k] for k in module.state_dict()})
            for name, target in node.share:
                if not target.endswith(".T"):
                    setattr(module, name, self._tied(levels, target))
            if node.frozen or levels[-1].frozen:
                module.requires_grad_(False)
            self.modules[path] = module
        return self.modules[path]

    def _tied(self, levels: tuple[Level, ...], target: str) -> nn.Parameter:
        there, last = _led(levels, target)
        owner, _, parameter = last.rpartition(".")
        found: nn.Parameter = getattr(self.modules[f"{there[-1].prefix}{owner}"], parameter)
        return found

    def _loop(self, node: Node, levels: tuple[Level, ...], inside: Level, given: Values, training: bool) -> Values:
        said = dict(node.args)
        carry, scan, collect = (said.get(key, ()) for key in ("carry", "scan", "collect"))
        carried = {name: given[name] for name in carry}
        rows: dict[str, list[Tensor]] = {name: [] for name in collect}
        over = torch.zeros((), dtype=torch.bool)
        times = said["times"] if "times" in said else given[scan[0]].shape[1]
        for n in range(times):
            if over.all():  # what is seen of it are the statistics of rounds that there are not
                break
            inner = {**given, **carried, **{name: given[name][:, n] for name in scan}}
            if "index" in said:
                inner[said["index"]] = torch.tensor(n)
            made = self._run((*levels, inside), inner, training and not inside.frozen)
            carried = {name: _unless(over, carried[name], made[name]) for name in carry}
            for name in collect:
                last = rows[name][-1][:, 0] if n else made[name]
                rows[name].append(_unless(over, last, made[name]).unsqueeze(1))
            over = over | made[said["until"]] if "until" in said else over
        padded = {name: found + found[-1:] * (times - len(found)) for name, found in rows.items()}
        return {**carried, **{name: torch.cat(found, 1) for name, found in padded.items()}}

    def _experts(self, node: Node, levels: tuple[Level, ...], inside: Level, given: Values, training: bool) -> Values:
        count, k = dict(node.args)["count"], dict(node.args).get("k", 1)
        tokens, logits = (given[name].reshape(-1, given[name].shape[-1]) for name in ("x", "logits"))
        chosen = logits.argsort(-1, descending=True)[:, :k]
        chance = logits.gather(1, chosen).exp()
        chance = chance / chance.sum(-1, keepdim=True)
        whole: Tensor | float = 0.0
        for n in range(count):  # every token visits all of them, and most count for nothing
            one = Level(inside.graph, f"{inside.prefix}expert.{n}.", inside.frozen)
            made = self._run((*levels, one), {"x": tokens, "logits": logits}, training and not inside.frozen)
            share = (chance * (chosen == n)).sum(-1, keepdim=True)
            whole = whole + share * next(iter(made.values()))
        load = torch.stack([(chosen == n).double().mean() for n in range(count)])
        return {"output": whole.reshape(*given["x"].shape[:-1], -1), "load": load}


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of what mappings and lists hold."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in pairs:
        if isinstance(value, dict | list | tuple):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def packed(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as the nested mappings and lists that a caller gives."""
    found: dict[str, Any] = {}
    for head in dict.fromkeys(name.split(".")[0] for name in flat):
        inner = {n.removeprefix(f"{head}."): v for n, v in flat.items() if n.startswith(f"{head}.")}
        found[head] = packed(inner) if inner else flat[head]
        if inner and all(key.isdigit() for key in found[head]):
            found[head] = list(found[head].values())
    return found


def _led(levels: tuple[Level, ...], path: str) -> tuple[tuple[Level, ...], str]:
    """The levels that a shared path leads to, and what it says of the last of them."""
    while path.startswith("^"):
        levels, path = levels[:-1], path[1:]
    while "/" in path:
        step, _, path = path.partition("/")
        node = levels[-1].graph.nodes[step]
        frozen = levels[-1].frozen or node.frozen
        levels = (*levels, Level(node.body, f"{levels[-1].prefix}{step}.", frozen))
    return levels, path


def _unless(over: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """The new value sample by sample, the old one for those that are done."""
    if not over.ndim:
        return old if over else new
    return torch.stack([old[n] if over[n] else new[n] for n in range(len(new))])


def _mode(training: bool) -> str:
    return "train" if training else "eval"


def _chosen(node: Node, training: bool) -> str:
    return dict(node.inputs)[_mode(training and not node.frozen)]


def _needed(graph: Graph, ends: list[str], training: bool) -> list[str]:
    """The steps that the outputs of this mode depend on, in the graph's order."""
    needed = set(ends)
    for i in reversed(list(graph.nodes)):
        node = graph.nodes[i]
        if i in needed:
            needed |= {_chosen(node, training)} if node.op == "switch" else {source for _, source in node.inputs}
    return [i for i in graph.nodes if i in needed]


def _arguments(entry: Entry, node: Node, tensors: list[Tensor]) -> dict[str, Any]:
    """What the callable is given besides tensors: the recipe's arguments and what is read off the inputs."""
    bound = {}
    for name, value in node.args:
        bound[next(p.argument for p in entry.params if name in (p.name, p.argument))] = value
    sizes = [tuple(x.shape) for x in tensors]
    for p in entry.params:
        if p.inferred.startswith("axis ") and p.argument not in bound:
            bound[p.argument] = sizes[0][int(p.inferred[5:])]
        elif p.inferred == "shape" and p.argument not in bound:
            bound[p.argument] = sizes[0]
        elif p.inferred == "shapes" and p.argument not in bound:
            bound[p.argument] = tuple(sizes)
    return bound


def _called(entry: Entry, call: Any, given: Values, bound: dict[str, Any]) -> Any:
    if entry.shape == "factory":
        return call(*given.values())
    numbers = sorted((port for port in given if port.isdigit()), key=int)
    return call(*(given[n] for n in numbers), **{p: x for p, x in given.items() if p not in numbers}, **bound)


def _named(entry: Entry, node: Node, made: Any) -> Values:
    flat = [value for _, value in leaves([made])]
    said = entry.option("outputs")
    names = [str(n) for n in range(len(flat))] if said in (None, "numbered") else said
    return dict(zip(names, flat, strict=False))
