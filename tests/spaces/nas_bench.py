"""The cells of NAS-Bench-101 as graphs, made directly, and those of NAS-Bench-201 as text in the paper's way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from assembler.graph.core import Graph, Node, TensorType

Matrix = Sequence[Sequence[int]]
OPS_101 = ("relu", "gelu", "tanh")
"""Stand for the three operations: a fingerprint looks at names."""
OPS_201 = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES_201 = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def matrices(vertices: int, most: int = 9) -> Iterator[Matrix]:
    """Upper triangular matrices with at most that many edges, every vertex on a way from the first to the last."""
    pairs = [(i, j) for j in range(vertices) for i in range(j)]
    for edges in range(vertices - 1, min(most, len(pairs)) + 1):
        for chosen in itertools.combinations(pairs, edges):
            if len({i for i, _ in chosen}) == len({j for _, j in chosen}) == vertices - 1:
                matrix = [[0] * vertices for _ in range(vertices)]
                for i, j in chosen:
                    matrix[i][j] = 1
                yield matrix


def graph_101(matrix: Matrix, ops: Sequence[str]) -> Graph:
    """A cell: what enters a vertex is added, then its operation is done; so is what enters the output."""
    nodes, names = dict[str, Node](), ["x"]
    for j in range(1, len(matrix)):
        read = [names[i] for i in range(j) if matrix[i][j]]
        if len(read) > 1:
            nodes[f"sum{j}"] = Node("add", inputs=tuple((str(n), name) for n, name in enumerate(read)))
            read = [f"sum{j}"]
        nodes[f"v{j}"] = Node("sigmoid" if j == len(matrix) - 1 else ops[j - 1], inputs=(("input", read[0]),))
        names.append(f"v{j}")
    return Graph((("x", TensorType((1, 8))),), nodes, (("y", names[-1]),))


def prints(vertices: int) -> set[str]:
    """The fingerprints of all cells with that many vertices."""
    ops = list(itertools.product(OPS_101, repeat=vertices - 2))
    return {graph_101(m, labels).fingerprint for m in matrices(vertices) for labels in ops}


def text_201(ops: Sequence[str], *, as_published: bool) -> str:
    """What the last node computes, written out: an operation on a value, sums in alphabetical order.

    As published, a zero that arrives is written too, and a sum that is passed on melts into the sum around it.
    """
    nodes = ["0"]
    for j in (1, 2, 3):
        read = [(nodes[i], op) for (i, to), op in zip(EDGES_201, ops, strict=True) if to == j]
        terms = ["" if not x or op == "none" else x if op == "skip_connect" else f"({x})@{op}" for x, op in read]
        if as_published:
            terms = ["#" if op == "none" or x == "#" else t for t, (x, op) in zip(terms, read, strict=True)]
            nodes.append("+".join(sorted(terms)))
        else:
            kept = sorted(filter(None, terms))
            nodes.append(kept[0] if len(kept) == 1 else f"[{'+'.join(kept)}]" if kept else "")
    return nodes[3]
