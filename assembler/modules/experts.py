"""A mixture of experts: copies of one sub-graph, of which every token visits a few."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assembler.errors import ShapeError
from assembler.graph.core import TensorType
from assembler.registry import Body, op


@op("experts", outputs=("output", "load"))
class Experts(nn.Module):
    """Copies of the body, `count` with weights of their own; a token goes to the `k` with the greatest logits.

    x [B, ..., D] and logits [B, ..., count] -> output [B, ..., D'] and load [count], the share of the tokens' places
    that each expert got, without gradient. Outputs are weighted by the softmax over the chosen logits (Shazeer et al.
    2017, arXiv:1701.06538, equations 3 to 5, without noise). The body reads `x` as
    [T, D] and makes [T, D'].
    """

    def __init__(self, body: Body, count: int, k: int = 1) -> None:
        super().__init__()
        if set(body.types) != {"x", "logits"}:
            said = f"experts reads x and logits, not {', '.join(body.types) or 'nothing'}"
            raise ShapeError(said, hint="from: {x: tokens, logits: router}")
        if not 1 <= k <= count:
            raise ShapeError(f"k must be from 1 to {count}, the number of experts, not {k}")
        if body.types["logits"].shape[-1] != count:
            raise ShapeError(f"experts needs {count} logits for each token, not {body.types['logits'].shape[-1]}")
        self.count, self.k, self.output = count, k, body.outputs[0]
        types = {name: TensorType((2, t.shape[-1]), t.dtype) for name, t in body.types.items()}
        self.expert = nn.ModuleList(body.build(types, str(n)) for n in range(count))

    def forward(self, x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum of the chosen experts' outputs, and the load of each."""
        tokens, scores = x.flatten(0, -2), logits.flatten(0, -2)
        best, chosen = scores.topk(self.k, -1)
        weights = best.softmax(-1)
        gates = torch.zeros_like(scores).scatter(-1, chosen, weights)
        parts = [self._part(n, tokens, scores, gates) for n in range(self.count)]
        load = nn.functional.one_hot(chosen, self.count).to(x.dtype).mean((0, 1))
        made = torch.stack(parts).sum(0)
        return made.reshape(*x.shape[:-1], made.shape[-1]), load

    def _part(self, n: int, tokens: Tensor, scores: Tensor, gates: Tensor) -> Tensor:
        """What expert `n` adds to all tokens, [T, D]."""
        expert, gate = self.expert[n], gates[:, n : n + 1]
        if torch.compiler.is_compiling():  # how many tokens come is not known: all come, and most count for nothing
            made: Tensor = expert(x=tokens, logits=scores)[self.output]
            return made * gate
        if tokens.is_meta:  # there is no choice to look at: a balanced one
            came = torch.arange(-(-len(tokens) * self.k // self.count), device="meta")
        else:
            came = gate[:, 0].nonzero()[:, 0]
        made = expert(x=tokens[came], logits=scores[came])[self.output] * gate[came]
        return made.new_zeros(len(tokens), made.shape[-1]).index_add(0, came, made)
