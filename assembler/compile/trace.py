"""The torch calls that a function op makes, found by calling it on `torch.fx` proxies."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import fx

from assembler.graph.core import Arg


def traced(
    function: Callable[..., Any], args: tuple[tuple[str, Arg], ...], ports: tuple[str, ...], named: frozenset[str]
) -> fx.Graph | None:
    """A function's body as an fx graph with a placeholder per port, or None where it has to stay a call.

    `args` are bound by name; the ports in `named` are passed by name, the others by position. A function stays a call
    when its control flow depends on its inputs' values or it makes something that a proxy cannot hold. The result is
    cached and must not be changed.
    """
    return _traced(function, args, repr(args), ports, named)


@functools.lru_cache(maxsize=4096)
def _traced(
    function: Callable[..., Any],
    args: tuple[tuple[str, Arg], ...],
    said: str,  # 1, 1.0 and True are equal keys and different arguments
    ports: tuple[str, ...],
    named: frozenset[str],
) -> fx.Graph | None:
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    proxies = {p: fx.Proxy(graph.placeholder(f"in_{p}"), tracer) for p in ports}
    positional = [v for p, v in proxies.items() if p not in named]
    try:
        result = function(*positional, **{p: proxies[p] for p in ports if p in named}, **dict(args))
    except Exception:  # whatever a proxy cannot do, the real call can
        return None
    if not isinstance(result, fx.Proxy):
        return None
    graph.output(result.node)
    graph.eliminate_dead_code()
    return graph
