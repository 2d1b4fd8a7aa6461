"""Graphs to test with: one small model in text form, and strategies for random ones."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import strategies as st

from assembler.graph import Graph, Node, TensorType
from assembler.graph.text import from_text

MODEL = """\
graph "tiny" (%image: float32[2, 3, 8, 8]) {
  %stem = conv2d(input=%image) {kernel_size = 3, out = 8, padding = 1}
  %stage.0.norm = batch_norm2d(input=%stem)
  %stage.0.mix.token = conv2d(input=%stage.0.norm) {bias = false, kernel_size = [3, 1], out = 8, padding = "same"}
  %stage.0 = add(%stem, %stage.0.mix.token)
  %stage.1 = relu(input=%stage.0)
  %head.pool = global_avg_pool(x=%stage.1)
  %head.fc = linear(input=%head.pool) {out = 10}
  name stage.0.mix = %stage.0.mix.token
  name stage = %stage.1
  name head = %head.fc
  return logits = %head.fc, features = %stage.1
}
"""

MAKERS: tuple[tuple[str, int, tuple[tuple[tuple[str, object], ...], ...]], ...] = (
    ("linear", 1, ((("out", 4),), (("out", 8),), (("bias", False), ("out", 8)))),
    ("relu", 1, ((),)),
    ("sub", 2, ((),)),
    ("add", 2, ((),)),
    ("concat", 3, ((), (("dim", -1),))),
)
PORTS = {"linear": ("input",), "relu": ("input",), "sub": ("a", "b")}


@pytest.fixture
def model() -> Graph:
    return from_text(MODEL)


@st.composite
def _graphs(draw: st.DrawFn, most: int = 10) -> Graph:
    inputs = tuple((f"x{n}", TensorType((2, draw(st.sampled_from([4, 8]))))) for n in range(draw(st.integers(1, 2))))
    values = [name for name, _ in inputs]
    nodes: dict[str, Node] = {}
    for n in range(draw(st.integers(1, most))):
        op, count, choices = draw(st.sampled_from(MAKERS))
        sources = [draw(st.sampled_from(values)) for _ in range(count)]
        ports = PORTS.get(op) or tuple(str(k) for k in range(count))
        i = f"{draw(st.sampled_from(['a', 'b', 'a.c', 'a.c.d']))}.n{n}"
        nodes[i] = Node(op, draw(st.sampled_from(choices)), tuple(zip(ports, sources, strict=True)))
        values.append(i)
    ends = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))
    names = {
        path: max((i for i in nodes if i.startswith(f"{path}.")), default="") for path in ("a", "b", "a.c", "a.c.d")
    }
    names = {path: i for path, i in names.items() if i}
    return Graph(inputs, nodes, tuple((f"y{n}", i) for n, i in enumerate(ends)), names, draw(st.text(max_size=5)))


def _renamed(graph: Graph, seed: int) -> Graph:
    """The same model: other ids, another topological order, inputs of commutative ops shuffled."""
    chance = random.Random(seed)
    new = [f"v{n}" for n in range(len(graph) + len(graph.inputs))]
    chance.shuffle(new)
    name = dict(zip((*graph.input_names, *graph.nodes), new, strict=True))
    done, waiting = set(graph.input_names), list(graph.nodes)
    nodes = {}
    while waiting:
        i = chance.choice([i for i in waiting if set(graph.nodes[i].sources) <= done])
        waiting.remove(i)
        done.add(i)
        node = graph.nodes[i]
        ports, sources = [p for p, _ in node.inputs], list(node.sources)
        if node.op == "add":
            chance.shuffle(sources)
        nodes[name[i]] = Node(node.op, node.args, tuple((p, name[s]) for p, s in zip(ports, sources, strict=True)))
    inputs = [(name[i], TensorType((7, *kind.shape[1:]), kind.dtype)) for i, kind in graph.inputs]
    outputs = [(y, name[i]) for y, i in graph.outputs]
    chance.shuffle(inputs)
    chance.shuffle(outputs)
    return Graph(tuple(inputs), nodes, tuple(outputs))


@pytest.fixture(scope="session")
def graphs() -> Callable[..., st.SearchStrategy[Graph]]:
    return _graphs


@pytest.fixture(scope="session")
def renamed() -> Callable[[Graph, int], Graph]:
    return _renamed


@pytest.fixture(scope="session")
def model_text() -> str:
    return MODEL
