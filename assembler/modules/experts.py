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
    2017, arXiv:1701.06538, equations 3 to 5, without noise), or added as they are where they are not `weighted`. The
    body reads `x` as [T, D] and makes [T, D'].

    Without `logits`, `keys` names a linear layer of the body that reads x: the mean of its rows is the expert's key,
    and a logit the key's product with the token (avg-k; Qiu et al. 2024, arXiv:2310.10908), so that the gate has no
    weights of its own. `bias` is added once, to the sum.

    With `gates` [B, ..., count] in the place of logits the recipe says itself what each expert's output is multiplied
    by; a token does not visit the experts whose gate is zero, but in training it does, for the gate's gradient.
    """

    def __init__(
        self, body: Body, count: int, k: int = 1, keys: str | None = None, weighted: bool = True, bias: bool = False
    ) -> None:
        super().__init__()
        self._check(body, count, k, keys)
        self.count, self.k, self.keys, self.weighted, self.output = count, k, keys, weighted, body.outputs[0]
        types = {name: TensorType((2, t.shape[-1]), t.dtype) for name, t in body.types.items()}
        self.expert = nn.ModuleList(body.build(types, str(n)) for n in range(count))
        self.bias = nn.Parameter(torch.zeros(body.made(types)[self.output].shape[-1])) if bias else None

    @staticmethod
    def _check(body: Body, count: int, k: int, keys: str | None) -> None:
        how = "" if keys is not None else "gates" if "gates" in body.types else "logits"
        if set(body.types) != {"x", *filter(None, [how])}:
            said = f"experts reads x{' and logits or gates' if how else ''}, not {', '.join(body.types) or 'nothing'}"
            raise ShapeError(said, hint="from: {x: tokens, logits: router}" if how else "from: {x: tokens}")
        if not 1 <= k <= count:
            raise ShapeError(f"k must be from 1 to {count}, the number of experts, not {k}")
        if how and body.types[how].shape[-1] != count:
            raise ShapeError(f"experts needs {count} {how} for each token, not {body.types[how].shape[-1]}")

    def _key(self, n: int, features: int) -> Tensor:
        """The key of expert `n`, [features]."""
        layer = dict(self.expert[n].named_modules()).get(str(self.keys))
        rows = getattr(layer, "weight", None)
        if rows is None or rows.shape[1:] != (features,):
            raise ShapeError(f"keys are rows of a linear layer of the body that reads x, and '{self.keys}' is none")
        key: Tensor = rows.mean(0)
        return key

    def forward(self, x: Tensor, logits: Tensor | None = None, gates: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The sum of what the chosen experts make, and the load of each."""
        given = {"x": x.flatten(0, -2)}
        if gates is not None:
            given["gates"] = rows = gates.flatten(0, -2)
        elif logits is not None:
            given["logits"] = logits.flatten(0, -2)
            rows = self._best(given["logits"])
        else:
            keys = torch.stack([self._key(n, x.shape[-1]) for n in range(self.count)])
            rows = self._best(given["x"] @ keys.T)
        parts = [self._part(n, given, rows) for n in range(self.count)]
        visits = (rows.detach() != 0).to(x.dtype).sum(0)
        made = torch.stack(parts).sum(0)
        made = made if self.bias is None else made + self.bias
        return made.reshape(*x.shape[:-1], made.shape[-1]), visits / visits.sum().clamp(min=1.0)

    def _best(self, scores: Tensor) -> Tensor:
        """The gates of the `k` greatest of the scores [T, count], zero elsewhere."""
        best, chosen = scores.topk(self.k, -1)
        weights = best.softmax(-1) if self.weighted else torch.ones_like(best)
        return torch.zeros_like(scores).scatter(-1, chosen, weights)

    def _part(self, n: int, given: dict[str, Tensor], gates: Tensor) -> Tensor:
        """What expert `n` adds to all tokens, [T, D]."""
        expert, gate, tokens = self.expert[n], gates[:, n : n + 1], given["x"]
        every = self.training and "gates" in given
        if every or torch.compiler.is_compiling():  # how many come is not known: all do, and most count for nothing
            made: Tensor = expert(**given)[self.output]
            return made * gate
        if tokens.is_meta:  # there is no choice to look at: a balanced one
            share = (1, 1) if "gates" in given else (self.k, self.count)
            came = torch.arange(-(-len(tokens) * share[0] // share[1]), device="meta")
        else:
            came = gate[:, 0].nonzero()[:, 0]
        made = expert(**{name: value[came] for name, value in given.items()})[self.output] * gate[came]
        return made.new_zeros(len(tokens), made.shape[-1]).index_add(0, came, made)
