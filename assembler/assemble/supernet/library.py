"""The weights of all candidates of a space, each tensor under its step, op and arguments, or cut out of the largest."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from assembler.assemble.inherit.matching import owner_of
from assembler.assemble.inherit.resize import layout, parts
from assembler.assemble.models import named
from assembler.assemble.supernet.stepping import Place, Stepping, places_of, run
from assembler.compile.lower import lower
from assembler.graph.core import Graph, Node
from assembler.graph.text import value_text
from assembler.train.evaluate import Forward

Sharing = Literal["apart", "nested"]


class Library:
    """Tensors that candidates take their weights from.

    With `sharing` "apart" a step has weights of its own for every op, arguments and size; two candidates share those
    of the steps that they have alike (Guo et al., 2020, arXiv:1904.00420). With "nested" all sizes of a step with one
    op are cut out of the largest: the first channels, the middle of the kernel (Cai et al., 2020, arXiv:1908.09791).
    New tensors are those that `seed` gives to the candidate that brings them.
    """

    def __init__(self, sharing: Sharing = "apart", seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.sharing = sharing
        self.tensors: dict[str, Tensor] = {}
        self._seed = seed
        self._device = device
        self._module = functools.lru_cache(maxsize=128)(self._lowered)  # of graphs that have to be run as one
        self.steps = Stepping(self._key, seed, device)

    @property
    def params(self) -> dict[str, nn.Parameter]:
        """What is trained."""
        return {key: tensor for key, tensor in self.tensors.items() if isinstance(tensor, nn.Parameter)}

    def reserve(self, graphs: Iterable[Graph], weights: Mapping[str, Tensor] | None = None) -> None:
        """Make room for all weights of some candidates, before training: nested ones get the largest size.

        They begin as the seed's, or with the `weights` that are given by `state_dict` key.
        """
        for graph in graphs:
            for place in self._places(graph):
                tensor = _holding(place.tensor, (weights or {}).get(place.name))
                held = self.tensors.get(place.key)
                if held is None:
                    self.tensors[place.key] = _like(tensor)
                elif any(new > old for new, old in zip(tensor.shape, held.shape, strict=True)):
                    self._enlarge(place.key, tensor)

    def weights(self, graph: Graph) -> dict[str, Tensor]:
        """The weights of a candidate by `state_dict` key: the library's own tensors, or pieces of them.

        What has no place in the library yet gets one.
        """
        return {place.name: self._tensor(place) for place in self._places(graph)}

    def keys(self, graph: Graph) -> dict[str, str]:
        """What `tensors` calls those that a candidate's are, or are pieces of, by `state_dict` key."""
        return {place.name: place.key for place in self._places(graph)}

    def forward(self, graph: Graph, mode: Callable[[nn.Module], None], *, kept: bool = True) -> Forward:
        """A candidate as a function of a batch, the library's tensors in place of its own.

        `mode` puts a module into the mode it is to have. Unless `kept`, buffers are copies, and stay as they are.
        """
        if not self.steps.takes(graph):
            module = self._module(graph)
            mode(module)
            found = {place.name: self._lent(place, kept) for place in self._places(graph)}
            called: Callable[..., object] = lambda **given: functional_call(module, found, (), given)  # noqa: E731
            return named(called, graph)  # type: ignore[arg-type]
        steps = self.steps.steps(graph)
        lent = [(place, self._lent(place, kept)) for place in places_of(steps.values())]

        def forward(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            for place, tensor in lent:  # when it is called, since other candidates have the same steps
                place.put(tensor)
            return run(graph, steps, batch, mode)

        return forward

    def _lent(self, place: Place, kept: bool) -> Tensor:
        tensor = self._tensor(place)
        return tensor if kept or isinstance(tensor, nn.Parameter) or tensor.requires_grad else tensor.clone()

    def _tensor(self, place: Place) -> Tensor:
        key, shape = place.key, place.tensor.shape
        held = self.tensors.get(key)
        if held is None or any(a < b for a, b in zip(held.shape, shape, strict=True)):
            key = f"{key}|{list(shape)}" if held is not None else key
            held = self.tensors.setdefault(key, _like(place.tensor))
        return _piece(held, tuple(shape), place.layer, place.name)

    def _places(self, graph: Graph) -> Iterable[Place]:
        """Where in the library each tensor of a candidate is; tied ones are at one place."""
        if self.steps.takes(graph):
            return places_of(self.steps.steps(graph).values())
        seen: dict[int, str] = {}
        found = []
        module = self._module(graph)
        for name, tensor in module.state_dict(keep_vars=True).items():
            node = graph.nodes.get(owner_of(name, graph))
            key = self._key(seen.setdefault(id(tensor), name), node, tensor)
            found.append(Place(name, key, tensor, module.get_submodule(name.rpartition(".")[0])))
        return found

    def _key(self, name: str, node: Node | None, tensor: Tensor) -> str:
        key = f"{name}|{node.op if node else ''}"
        if self.sharing == "nested":
            return f"{key}|{tensor.ndim}"
        said = ", ".join(f"{k}={value_text(v)}" for k, v in sorted(node.args)) if node else ""
        return f"{key}|{_digest(said)}|{list(tensor.shape)}"

    def _enlarge(self, key: str, tensor: Tensor) -> None:
        held = self.tensors[key]
        if any(new < old for new, old in zip(tensor.shape, held.shape, strict=True)):
            sizes = [max(a, b) for a, b in zip(held.shape, tensor.shape, strict=True)]
            generator = torch.Generator().manual_seed(int(_digest(key), 16) % 2**31)
            like = tensor.detach().float()
            drawn = torch.randn(sizes, generator=generator) * float(like.std(unbiased=False)) + float(like.mean())
            drawn = drawn.to(tensor.device, tensor.dtype)
            self.tensors[key] = nn.Parameter(drawn) if isinstance(tensor, nn.Parameter) else _largest(held, tensor)
        else:
            self.tensors[key] = _like(tensor)

    def _lowered(self, graph: Graph) -> nn.Module:
        return lower(graph, seed=self._seed, device=self._device).eval()


def _like(tensor: Tensor) -> Tensor:
    fresh = tensor.detach().clone()
    return nn.Parameter(fresh, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fresh


def _holding(like: Tensor, given: Tensor | None) -> Tensor:
    """The tensor that is given as what `like` is, a parameter or a buffer; `like` where none is."""
    if given is None:
        return like
    return nn.Parameter(given, like.requires_grad) if isinstance(like, nn.Parameter) else given


def _largest(held: Tensor, tensor: Tensor) -> Tensor:
    """A buffer that is as large as both along every axis."""
    sizes = [max(a, b) for a, b in zip(held.shape, tensor.shape, strict=True)]
    return held.reshape(-1)[:1].expand(sizes).clone() if held.ndim == 1 else held.new_zeros(sizes)


def _piece(tensor: Tensor, shape: tuple[int, ...], module: nn.Module, name: str) -> Tensor:
    """The first channels and the middle of the kernel of a tensor; of several parts side by side those of each."""
    if tuple(tensor.shape) == shape:
        return tensor
    _, kernel = layout(module, tensor)
    count = parts(name)
    made = tensor
    for axis, size in enumerate(shape):
        full = made.shape[axis]
        if full == size:
            continue
        if axis == 0 and count > 1 and full % count == 0 and size % count == 0:
            made = torch.unflatten(made, 0, (count, full // count))[:, : size // count].flatten(0, 1)
        else:
            made = made.narrow(axis, (full - size) // 2 if axis in kernel else 0, size)
    return made


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def from_tensors(tensors: Mapping[str, Tensor], sharing: Sharing, seed: int = 0) -> Library:
    """A library that was trained before."""
    made = Library(sharing, seed)
    made.tensors.update(tensors)
    return made
