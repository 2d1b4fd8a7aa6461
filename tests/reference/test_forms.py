"""Every form of a drawn recipe is the same model: texts, locks, other names, costs, source and schema."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from built import Pair, graph_of, run
from drawn import STEP, recipes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from assembler.compile.lower import lower
from assembler.compile.source import to_source
from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.graph.modes import has_modes, in_mode
from assembler.graph.text import from_text, to_text
from assembler.graph.verify import verify
from assembler.importing import from_module
from assembler.infer.cost import counting, total, train_flops
from assembler.recipe.document import parse
from assembler.recipe.read import read_text
from assembler.recipe.values import plain
from assembler.recipe.write import format_source, to_yaml
from assembler.schema import schema

DRAWN = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "database": None}


def same_texts(text: str) -> None:
    """The graph's text, the canonical recipe and the resolved recipe give the same graph."""
    graph = graph_of(text)
    verify(graph)
    assert from_text(to_text(graph)) == graph
    assert to_text(from_text(to_text(graph))) == to_text(graph)
    once = format_source(text, "drawn.yaml")
    assert format_source(once, "drawn.yaml") == once
    assert graph_of(once) == graph
    document = parse(text, "drawn.yaml")
    lock = to_yaml(document.model)
    assert to_yaml(parse(lock, "lock.yaml").model) == lock
    assert graph_of(lock) == graph
    assert graph_of(lock).fingerprint == graph.fingerprint


def same_under_other_names(text: str, shift: int) -> None:
    """Names of steps are not part of what a model is."""
    other = re.sub(STEP, lambda found: f"s{(int(found[1]) * 7 + shift) % 1009}", text)
    assert graph_of(other).fingerprint == graph_of(text).fingerprint


def different_arguments(text: str, pick: Callable[[list[Any]], Any]) -> None:
    """Every argument is part of what a model is, and so is every op."""
    graph = graph_of(text)
    numbers = [(i, n, v) for i, node in graph for n, v in node.args if type(v) in (int, float)]
    numbers += [(i, "out", v) for i, node in graph for n, v in node.args if n == "out"]
    if numbers:
        i, name, value = pick(numbers)
        changed = graph.replace(i, **{name: value + 1})
        assert changed.fingerprint != graph.fingerprint
        assert changed.replace(i, **{name: value}) == graph
    shared = {path.lstrip("^").split("/")[0] for path in _shared(graph)}
    plain_steps = [i for i, node in graph if node.op in ("relu", "gelu", "tanh") and not node.share and i not in shared]
    if plain_steps:
        assert graph.replace(pick(plain_steps), op="sigmoid").fingerprint != graph.fingerprint


def _shared(graph: Graph) -> Iterator[str]:
    """Whose weights are used, by steps of the graph and of all bodies in it."""
    for _, node in graph:
        yield from (path for _, path in node.share)
        yield from _shared(node.body) if node.body else ()


def same_costs(text: str) -> None:
    """Parameters and FLOPs are those that are counted on the module itself."""
    graph = graph_of(text)
    evaluation, training = in_mode(graph, "eval"), in_mode(graph, "train")
    found = total(graph)
    module = lower(evaluation).eval()
    given_ = _given(graph)
    assert found.params == sum(p.numel() for p in module.parameters())
    assert found.bytes == sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
    if any(op in text for op in ("experts", "lstm", "gru", "rnn", "until")):
        return  # how many tokens come to which expert, when all is over and what a kernel does is told at run time
    assert found.flops == _flops(module, evaluation, given_, backward=False)
    if not has_modes(graph):
        assert train_flops(graph) == _flops(lower(training).train(), training, given_, backward=True)


def _given(graph: Graph) -> dict[str, Tensor]:
    return {
        name: torch.randint(0, 2, kind.shape) if kind.dtype == "int64" else torch.randn(kind.shape)
        for name, kind in graph.inputs
    }


def _flops(module: nn.Module, graph: Graph, given: dict[str, Tensor], *, backward: bool) -> int:
    tops = {name.split(".")[0] for name in graph.input_names}
    given = {name: x for name, x in given.items() if name.split(".")[0] in tops}
    # torch's fused attention of the CPU has no formula; taken apart it has
    with counting() as counter, sdpa_kernel(SDPBackend.MATH):
        made = run(module, given).values()
        ends = [value for value in made if value.requires_grad]
        if backward and ends:
            torch.autograd.backward(ends, [torch.ones_like(end) for end in ends])
    return int(counter.get_total_flops()) // graph.inputs[0][1].shape[0]


def same_source(text: str) -> None:
    """`model.py` computes the same, or says that it cannot."""
    pair = Pair.of(graph_of(text))
    try:
        source = to_source(pair.graph)
    except GraphError as error:
        pytest.fail(f"no source: {error}")
    module = types.ModuleType("drawn_model")
    module.__file__ = "model.py"
    sys.modules[module.__name__] = module
    exec(compile(source, "model.py", "exec"), module.__dict__)
    other = module.Model().double()
    other.load_state_dict(pair.compiled.state_dict())
    torch.manual_seed(2)
    drawn = pair.inputs()
    for training in (True, False):
        ours = run(pair.compiled.train(training), drawn)
        theirs = run(other.train(training), drawn)
        assert list(ours) == list(theirs)
        for name in ours:
            assert torch.allclose(ours[name].double(), theirs[name].double(), rtol=1e-10, atol=1e-10), name


def same_when_imported(text: str) -> None:
    """A module that was built of a recipe is the recipe's graph."""
    graph = graph_of(text)
    assert from_module(lower(graph)).fingerprint == graph.fingerprint


@settings(max_examples=60, **DRAWN)
@given(recipes(), st.integers(0, 1008))
def test_texts_and_names(text: str, shift: int) -> None:
    same_texts(text)
    same_under_other_names(text, shift)


@settings(max_examples=40, **DRAWN)
@given(recipes(), st.data())
def test_arguments_tell_models_apart(text: str, data: st.DataObject) -> None:
    different_arguments(text, lambda choices: data.draw(st.sampled_from(choices)))


@settings(max_examples=40, **DRAWN)
@given(recipes())
def test_costs_are_those_of_the_module(text: str) -> None:
    same_costs(text)


@settings(max_examples=25, **DRAWN)
@given(recipes())
def test_source_and_import(text: str) -> None:
    same_source(text)
    same_when_imported(text)


@settings(max_examples=25, **DRAWN)
@given(text=recipes())
def test_the_schema_accepts_every_recipe(validator: Draft7Validator, text: str) -> None:
    assert [e.message for e in validator.iter_errors(plain(read_text(text, "drawn.yaml")))] == []


@pytest.mark.slow
@settings(max_examples=1000, **{**DRAWN, "derandomize": False})
@given(text=recipes(), data=st.data())
def test_all_forms_of_many(validator: Draft7Validator, text: str, data: st.DataObject) -> None:
    same_texts(text)
    same_under_other_names(text, data.draw(st.integers(0, 1008)))
    different_arguments(text, lambda choices: data.draw(st.sampled_from(choices)))
    same_costs(text)
    same_source(text)
    same_when_imported(text)
    assert validator.is_valid(plain(read_text(text, "drawn.yaml")))


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    return Draft7Validator(schema())
