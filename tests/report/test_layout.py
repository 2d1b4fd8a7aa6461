from __future__ import annotations

import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.report.layout import layered, longest_path


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, tuple[float, float]], list[tuple[str, str]]]:
    """Up to 25 boxes of any size; edges only from earlier to later ones."""
    count = draw(st.integers(1, 25))
    sides = st.floats(1, 200)
    sizes = {f"n{i}": (draw(sides), draw(sides)) for i in range(count)}
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    found = draw(st.lists(pairs, max_size=60))
    return sizes, [(f"n{min(p)}", f"n{max(p)}") for p in found if p[0] != p[1]]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_boxes_never_overlap_edges_run_down_and_all_lies_in_the_frame(
    made: tuple[dict[str, tuple[float, float]], list[tuple[str, str]]],
) -> None:
    sizes, edges = made
    found = layered(sizes, edges)
    boxes = list(found.boxes.values())
    assert {n: (b.width, b.height) for n, b in found.boxes.items()} == sizes
    for i, a in enumerate(boxes):
        assert a.x > -0.01 and a.y > -0.01
        assert a.x + a.width < found.width + 0.01 and a.y + a.height < found.height + 0.01
        for b in boxes[:i]:
            apart = a.x + a.width <= b.x + 0.01 or b.x + b.width <= a.x + 0.01
            assert apart or a.y + a.height <= b.y or b.y + b.height <= a.y
    assert set(found.routes) == set(edges)
    for (start, end), points in found.routes.items():
        assert points[0][1] == found.boxes[start].y + found.boxes[start].height
        assert points[-1][1] == found.boxes[end].y
        assert [y for _, y in points] == sorted(y for _, y in points)


def test_a_chain_with_a_skip_stays_straight_and_the_skip_goes_round() -> None:
    sizes = {n: (60.0, 20.0) for n in "abcd"}
    found = layered(sizes, [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert len({round(box.middle, 1) for box in found.boxes.values()}) == 1
    bend = found.routes[("a", "d")][2]
    assert bend[0] > found.boxes["b"].x + found.boxes["b"].width


def test_layers_are_longest_paths() -> None:
    assert longest_path(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")]) == {"a": 0, "b": 1, "c": 2}


def test_cycles_and_strangers_are_left_out() -> None:
    found = layered({"a": (1, 1), "b": (1, 1)}, [("a", "b"), ("b", "a"), ("a", "gone"), ("b", "b")])
    assert set(found.boxes) == {"a", "b"}


def test_two_thousand_nodes_take_under_two_seconds() -> None:
    rng = random.Random(3)
    names = [f"n{i}" for i in range(2000)]
    edges = [(names[i - 1], names[i]) for i in range(1, 2000)]
    edges += [(names[i], names[min(1999, i + rng.randint(2, 1000))]) for i in range(0, 1900, 2)]
    start = time.process_time()
    found = layered(dict.fromkeys(names, (80.0, 30.0)), edges)
    assert time.process_time() - start < 2
    assert len(found.boxes) == 2000
