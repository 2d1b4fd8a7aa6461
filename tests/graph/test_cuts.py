"""Where graphs can be cut: every listed region is a slot, none is missing, and the proposed chain is the best one."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assembler.errors import GraphError
from assembler.graph import Graph, Node, TensorType
from assembler.graph.balance import balanced, repeated
from assembler.graph.cuts import cuts, joined
from assembler.graph.edit import cut, extract, graft, prune
from assembler.graph.runs import holder, steps_under
from assembler.graph.text import from_text
from assembler.graph.view import to_networkx

T = TensorType((2, 8))


def relu(source: str, **more: object) -> Node:
    return Node("relu", (), (("input", source),), **more)


def add(*sources: str) -> Node:
    return Node("add", (), tuple((str(n), s) for n, s in enumerate(sources)))


def linear(source: str, **more: object) -> Node:
    return Node("linear", (("out", 8),), (("input", source),), **more)


def chain(*names: str, **more: dict[str, object]) -> Graph:
    """Linear steps one behind the other; `more` gives a step's further fields."""
    nodes: dict[str, Node] = {}
    for before, name in itertools.pairwise(("x", *names)):
        nodes[name] = linear(before, **more.get(name, {}))
    return Graph((("x", T),), nodes, (("y", names[-1]),))


def residuals(count: int) -> Graph:
    """A stem, `count` residual blocks of three steps, a head."""
    nodes, last = {"stem": linear("x")}, "stem"
    for n in range(count):
        path = f"block.{n}"
        nodes |= {f"{path}.a": linear(last), f"{path}.b": relu(f"{path}.a"), path: add(last, f"{path}.b")}
        last = path
    return Graph((("x", T),), nodes | {"head": linear(last)}, (("y", "head"),))


def regions(graph: Graph) -> set[tuple[str, str]]:
    """(what enters, what leaves) of every slot, by trying all pairs of values."""
    import networkx as nx

    view = to_networkx(graph)
    below = {i: nx.descendants(view, i) for i in view}
    kept = {i for _, i in graph.outputs}
    found = set()
    for source, output in itertools.product(view, graph.nodes):
        ids = {i for i in graph.nodes if i in below[source] and (i == output or output in below[i])}
        entering = {s for i in ids for s in graph.nodes[i].sources} - ids
        leaving = {i for i in ids if i in kept or not set(view.successors(i)) <= ids}
        if entering == {source} and leaving == {output}:
            found.add((source, output))
    return found


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_every_region_is_listed_and_can_be_taken_out_and_put_back(graphs, data):
    graph = prune(data.draw(graphs()))
    assume(len(graph))
    found = cuts(graph)
    types = {i: T for i in graph.nodes}
    for slot in found.slots:
        assert cut(graph, slot.path) == slot
        again = graft(graph, slot.path, extract(graph, slot.path, types))
        assert again == graph and again.fingerprint == graph.fingerprint
        assert again.names == {**graph.names, slot.path: slot.output} or again.names == graph.names
        inside = holder(graph, slot.path)
        assert {i for i in graph.nodes if inside(f"{i}.weight")} == set(slot.ids)
    possible, alone = regions(graph), [s for s in found.slots if not s.sides]
    assert {(s.source, s.output) for s in alone} <= possible
    smallest = {s.output: s.source for s in sorted(alone, key=lambda s: -len(s.ids))}
    runs = set()
    for output in smallest:
        source = output
        while source in smallest:
            source = smallest[source]
            runs.add((source, output))
    assert possible <= runs
    for a, b in itertools.combinations(range(len(found.chain) + 1), 2):
        whole = (found.chain[a].source, found.chain[b - 1].output)
        if not any(s.sides for s in found.chain[a:b]):
            assert (whole in possible) == (not any(found.tapped[a : b - 1]))
        if not any(found.tapped[a : b - 1]):
            assert cut(graph, joined(graph, found.chain[a:b]).path).output == whole[1]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(1, 8), st.data())
@settings(deadline=None, max_examples=150)
def test_balanced_slots_are_the_best_and_hold_everything(weights, count, data):
    graph = chain(*(f"s{n}" for n in range(len(weights))))
    by_step = dict(zip(graph.nodes, weights, strict=True))
    pairs = data.draw(st.lists(st.tuples(*[st.sampled_from(list(graph.nodes))] * 2), max_size=2))
    number = {i: n for n, i in enumerate(graph.nodes)}
    best = None
    for borders in itertools.combinations(range(1, len(weights)), count - 1):
        ends = [0, *borders, len(weights)]
        if all(any(a <= number[p] < b and a <= number[q] < b for a, b in itertools.pairwise(ends)) for p, q in pairs):
            sums = [sum(weights[a:b]) for a, b in itertools.pairwise(ends)]
            best = min(best or (1e9, 0), (max(sums), sum(s * s for s in sums)))
    if best is None:
        with pytest.raises(GraphError, match=r"slots at most|cannot be cut"):
            balanced(graph, cuts(graph), by_step, count, pairs)
        return
    slots = balanced(graph, cuts(graph), by_step, count, pairs)
    assert [i for s in slots for i in s.ids] == list(graph.nodes) and len(slots) == count
    sums = [sum(by_step[i] for i in s.ids) for s in slots]
    assert (max(sums), sum(s * s for s in sums)) == best
    assert all(cut(graph, s.path) == s for s in slots)


def test_a_run_goes_over_the_borders_of_containers():
    graph = residuals(4)
    slots = balanced(graph, cuts(graph), dict.fromkeys(graph.nodes, 1), 3)
    assert [s.path for s in slots] == ["stem..block.0", "block.1..block.2", "block.3..head"]
    other = graph.replace("block.1..block.2", op="linear", out=8)
    assert list(other.nodes) == ["stem", "block.0.a", "block.0.b", "block.0", "block.2", "block.3.a", "block.3.b",
                                 "block.3", "head"]  # fmt: skip
    assert cut(other, "block.1..block.2").ids == ("block.2",)


def test_the_copies_of_a_repeated_container():
    assert [s.path for s in repeated(cuts(residuals(3)))] == ["block.0", "block.1", "block.2"]
    assert repeated(cuts(residuals(1))) == () == repeated(cuts(chain("a", "0", "1")))


def test_steps_that_share_weights_stay_together_or_stay_out():
    tied = chain("embed", "a", "b", "c", "head", head={"share": (("weight", "embed.weight"),)})
    found = cuts(tied)
    assert dict(found.torn) == {
        "embed": "'head' uses the weights of 'embed', which is on the other side",
        "head": "'head' uses the weights of 'embed', which is on the other side",
    }
    slots = balanced(tied, found, dict.fromkeys(tied.nodes, 1), 3)
    assert [s.path for s in slots] == ["a", "b", "c"]
    assert [s.path for s in balanced(tied, found, dict.fromkeys(tied.nodes, 1), 1)] == ["embed..head"]
    near = chain("a", "b", "c", "d", b={"share": (("", "a"),)})
    assert [s.path for s in balanced(near, cuts(near), dict.fromkeys(near.nodes, 1), 3)] == ["a..b", "c", "d"]
    with pytest.raises(GraphError) as error:
        cut(tied, "embed..b")
    assert str(error.value) == (
        "embed..b: error: cannot cut 'embed..b': 'head' uses the weights of 'embed', which is on the other side"
    )


def test_the_outputs_of_one_step_stay_together():
    text = """\
    graph "g" (%x: float32[2, 8]) {
      %a = linear(input=%x) {out = 8}
      %top = topk(x=%a) {k = 2}
      %top.indices = item(input=%top) {output = "indices"}
      %b = add(%top, %top.indices)
      %c = relu(input=%b)
      return y = %c
    }
    """
    graph = from_text(text)
    assert [s.path for s in cuts(graph).chain] == ["a", "top..b", "c"]


def test_what_comes_of_no_input_belongs_to_what_reads_it():
    nodes = {"a": linear("x"), "table": Node("learned_table", (), ()), "sum": add("a", "table"), "b": relu("sum")}
    graph = Graph((("x", T),), nodes, (("y", "b"),))
    found = cuts(graph)
    assert [(s.path, s.ids) for s in found.chain] == [("a", ("a",)), ("sum..sum", ("table", "sum")), ("b", ("b",))]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("head..stem", "there is no run 'head..stem': 'stem' does not come of 'head'"),
        ("table..head", "no run can begin with 'table': it reads no input of the model"),
        ("steem..head", "there is no step 'steem' in model"),
        ("stem..block.1.a", "cannot cut 'stem..block.1.a': 2 values leave, of a slot one does"),
    ],
)
def test_what_is_no_run(run, message):
    graph = residuals(2)
    graph = replace(graph, nodes={"table": Node("learned_table", (), ()), **graph.nodes})
    with pytest.raises(GraphError) as error:
        cut(graph, run)
    assert message in str(error.value)


def test_a_part_for_a_run_keeps_to_its_steps():
    graph = residuals(2)
    part = extract(graph, "stem..block.0", {})
    clash = Graph(part.inputs, {"head": linear("x")}, (("y", "head"),))
    with pytest.raises(GraphError, match="cannot have a step 'head': the model has one outside"):
        graft(graph, "stem..block.0", clash)
    longer = Graph(part.inputs, {**part.nodes, "more": relu("block.0")}, (("y", "more"),))
    with pytest.raises(GraphError, match=r"the value of a part for 'stem\.\.block\.0' is that of 'block\.0'"):
        graft(graph, "stem..block.0", longer)
    nothing = graft(graph, "stem..block.0", Graph(part.inputs, {}, (("y", "x"),)))
    assert list(nothing.nodes) == ["block.1.a", "block.1.b", "block.1", "head"]
    assert nothing.resolve("block.0") == "x"


def test_the_steps_that_a_recipe_path_may_change():
    graph = residuals(2)
    assert steps_under(graph, "block.1.a.out") == ("block.1.a",)
    assert steps_under(graph, "block.a") == ("block.0.a", "block.1.a")
    assert steps_under(graph, "vars.depth") == ()


def test_a_value_that_is_an_output_too_is_the_end_of_a_slot():
    graph = chain("a", "b", "c", "d")
    graph = Graph(graph.inputs, graph.nodes, (("y", "d"), ("feature", "a")))
    ones = dict.fromkeys(graph.nodes, 1)
    assert [s.path for s in balanced(graph, cuts(graph), ones, 2)] == ["a", "b..d"]
    with pytest.raises(GraphError) as error:
        balanced(graph, cuts(graph), ones, 1)
    assert str(error.value) == (
        "error: model can be cut into 2 slots at least, not 1\n"
        "    hint: a is read elsewhere too; -o outputs.feature=null gives out less"
    )


def test_what_cannot_be_cut_at_all():
    nodes = {"table": Node("learned_table", (), ()), "a": relu("table"), "b": relu("a")}
    graph = Graph((("x", T),), nodes, (("y", "b"),))
    with pytest.raises(GraphError) as error:
        balanced(graph, cuts(graph), dict.fromkeys(nodes, 1), 2)
    assert str(error.value) == "error: model cannot be cut into slots\n    hint: no one value leads to its output"


def test_a_tied_head_leaves_the_repeated_blocks_to_be_named():
    nodes = {"embed": linear("x")}
    for n in range(4):
        before = f"block.{n - 1}" if n else "embed"
        nodes |= {f"block.{n}.a": relu(before), f"block.{n}": relu(f"block.{n}.a")}
    nodes["head"] = replace(linear("block.3"), share=(("weight", "embed.weight"),))
    graph = Graph((("x", T),), nodes, (("y", "head"),))
    with pytest.raises(GraphError) as error:
        balanced(graph, cuts(graph), dict.fromkeys(nodes, 1), 4, [nodes])
    assert str(error.value) == (
        "error: model can be cut into 1 slots at most, not 4\n"
        "    hint: 'embed': 'head' uses the weights of 'embed', which is on the other side; 'head': 'head' uses the "
        "weights of 'embed', which is on the other side; split: [block.*] has 4 slots"
    )
