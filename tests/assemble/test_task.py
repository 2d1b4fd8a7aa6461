"""Tasks as values: keys, equality, what they refuse, and the order of a graph of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import graph, make

from assembler.assemble.task import Task, canonical, closure, module_code, task
from assembler.errors import TaskError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
inputs = st.dictionaries(st.text(min_size=1, max_size=3), plain, max_size=4)


@given(inputs)
def test_equal_tasks_collapse_whatever_their_order_label_and_phase(values: dict[str, Any]) -> None:
    one = task("jobs:add", values, {"a": make("x", 1), "b": make("y", 2)}, label="one", phase="meta")
    turned = dict(reversed(values.items()))
    two = task("jobs:add", turned, {"b": make("y", 2), "a": make("x", 1)}, label="two", phase="search")
    assert one == two and {one: 1}[two] == 1 and one.key == two.key


@given(inputs, inputs)
def test_keys_tell_different_inputs_apart(one: dict[str, Any], two: dict[str, Any]) -> None:
    same = canonical(one) == canonical(two)
    assert (task("jobs:add", one) == task("jobs:add", two)) is same


@given(inputs)
def test_a_function_gets_the_inputs_that_were_given(values: dict[str, Any]) -> None:
    assert task("jobs:add", values).parameters == values


def test_every_part_of_what_a_product_depends_on_changes_the_key() -> None:
    base = task("jobs:add", {"dim": 8}, {"host": make("m", 1)})
    others = [
        task("jobs:draw", {"dim": 8}, {"host": make("m", 1)}),
        task("jobs:add", {"dim": 9}, {"host": make("m", 1)}),
        task("jobs:add", {"dim": 8}, {"host": make("m", 2)}),
        task("jobs:add", {"dim": 8}, {"guest": make("m", 1)}),
        task("jobs:add", {"dim": 8}, {"host": make("m", 1)}, code=["0123"]),
    ]
    assert len({base, *others}) == 6


def test_the_key_is_stable_between_processes() -> None:
    here = [t.key for t in closure(graph(3))]
    text = (
        "from jobs import graph; from assembler.assemble.task import closure; print([t.key for t in closure(graph(3))])"
    )
    env = {"PYTHONPATH": f"{Path(__file__).parents[2]}:{Path(__file__).parent}", "PYTHONHASHSEED": "7"}
    there = subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True, check=True).stdout
    assert there.strip() == str(here)


def test_a_change_of_the_source_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine").mkdir()
    source = tmp_path / "mine" / "steps.py"
    (tmp_path / "mine" / "__init__.py").write_text("raise RuntimeError('imported')")
    source.write_text("def go(job):\n    return {}\n")
    first, digest = task("mine.steps:go"), module_code("mine.steps")
    source.write_text("def go(job):\n    return {'x': 1}\n")
    assert task("mine.steps:go") != first and module_code("mine.steps") != digest
    assert "mine" not in sys.modules


def test_a_deep_and_shared_graph_costs_little() -> None:
    last = make("t", 0)
    for value in range(2000):
        last = make("t", value, left=last, right=last)
    assert len(closure([last])) == 2001 and len(repr(last)) < 80


@given(st.randoms(use_true_random=False))
def test_closure_has_needs_before_users_each_once(random: Any) -> None:
    tasks: list[Task] = []
    for value in range(12):
        needs = random.sample(tasks, min(len(tasks), random.randint(0, 3)))
        tasks.append(make(f"n{value}", value, **{f"x{i}": need for i, need in enumerate(needs)}))
    order = closure(tasks)
    assert sorted(t.key for t in order) == sorted({t.key for t in tasks})
    assert all(order.index(need) < order.index(t) for t in order for _, need in t.needs)


def test_labels_and_seeds_are_for_people() -> None:
    assert make("teacher", 1).name == "teacher" and task("jobs:add").name == "add"
    assert task("jobs:add", {"seed": 3}).seed == 3 and task("jobs:add").seed is None


@pytest.mark.parametrize(
    ("run", "values", "message"),
    [
        ("jobs:ad", {}, "error: module jobs has no function 'ad'\n    hint: did you mean 'add'?"),
        ("jobs", {}, "error: a task runs 'package.module:function', not 'jobs'"),
        ("os; import x:f", {}, "error: a task runs 'package.module:function', not 'os; import x:f'"),
        ("assembler.nothing:f", {}, "error: there is no Python module 'assembler.nothing' to run"),
        ("nothing.at.all:f", {}, "error: there is no Python module 'nothing.at.all' to run"),
        ("jobs:add", {"lr": float("nan")}, "error: inputs.lr is nan: numbers must be finite"),
        ("jobs:add", {"a": {1: 2}}, "error: inputs.a has the key 1: keys must be text"),
        (
            "jobs:add",
            {"a": [0, {1, 2}]},
            "error: inputs.a.1 is of type set, which is not plain data\n    hint: give numbers, text, lists, dicts",
        ),
    ],
)
def test_bad_tasks_are_refused_when_they_are_made(run: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError) as caught:
        task(run, values)
    assert str(caught.value) == message
