"""A mixture of experts to one dense feed-forward block: the way back from `split_experts`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from assembler.graph.core import Graph, Node
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.ops import has_bias
from assembler.rewrites.split_experts import chain
from assembler.rewrites.view import View, argument, is_leaf, rewired, spliced


@rewrite("merge_experts")
@dataclass(frozen=True)
class MergeExperts(Rewrite):
    """Make two linear layers with an activation between of `experts` whose bodies are that, the experts side by side.

    For outputs that are added as they are (`weighted: false`) and layers that end without a bias of their own. The
    dense block does what all experts together do: the same where `k` is their number (EMoE, Qiu et al. 2024,
    arXiv:2310.10908, merges after fine-tuning with fewer). A router that nothing else reads goes with them.
    """

    keeps: ClassVar[bool] = False

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The experts that are one hidden layer each and add up."""
        view = View(graph, types)
        return tuple(i for i, node in graph if node.op == "experts" and _fits(view, i, node))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the steps of the body under the path of the experts."""
        node = graph.nodes[at]
        steps, source = _steps(node), dict(node.inputs)["x"]
        block: dict[str, Node] = {}
        assert node.body is not None
        for i in steps:
            old = node.body.nodes[i]
            args = dict(old.args)
            if i == steps[0]:
                args["out"] = argument(old, "out") * argument(node, "count")
            if i == steps[-1]:
                args["bias"] = argument(node, "bias")
            made = step(old.op, args, (source,), old)
            source = f"{at}.{i}"
            block[source] = replace(made, span=node.span, frozen=node.frozen, init=old.init)
        router = dict(node.inputs).get("logits", "")
        gone = {router} if router in graph.nodes and View(graph, types).lone(router) == at else set()
        nodes = {i: n for i, n in spliced(graph, at, block).items() if i not in gone}
        made_graph = rewired(graph, nodes, {at: source}, tuple(block))
        return replace(made_graph, names={**made_graph.names, at: source})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The experts' rows of the first layer one below another, their columns of the last side by side."""
        import torch

        node = before.nodes[at]
        first, *_, last = _steps(node)

        def of(key: str) -> list[torch.Tensor]:
            return [state[f"{at}.expert.{n}.{key}"] for n in range(argument(node, "count"))]

        assert node.body is not None
        made = {f"{at}.{first}.weight": torch.cat(of(f"{first}.weight"))}
        made[f"{at}.{last}.weight"] = torch.cat(of(f"{last}.weight"), 1)
        if has_bias(node.body.nodes[first]):
            made[f"{at}.{first}.bias"] = torch.cat(of(f"{first}.bias"))
        return made | ({f"{at}.{last}.bias": state[f"{at}.bias"]} if f"{at}.bias" in state else {})


def _steps(node: Node) -> tuple[str, ...]:
    """The steps of an expert if they are one hidden layer that reads x, else none."""
    body = node.body
    if body is None or not len(body):
        return ()
    first = next(iter(body.nodes))
    found = chain(View(body, {}), first)
    whole = len(found) == len(body.nodes) and body.nodes[first].sources == ("x",) and body.outputs[0][1] == found[-1]
    return found if whole and not has_bias(body.nodes[found[-1]]) else ()


def _fits(view: View, i: str, node: Node) -> bool:
    plain = (
        argument(node, "weighted") is False
        and "gates" not in dict(node.inputs)
        and view.single(i)
        and view.free(i)
        and is_leaf(view.graph, i)
    )
    return plain and bool(_steps(node))
