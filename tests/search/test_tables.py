"""Tables: every format and way of addressing rows says the same; what is wrong is told with its place."""

from __future__ import annotations

import gzip
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assembler.errors import AssemblerError, InputError, RecipeError, TaskError
from assembler.search import SearchSpec, make, run
from assembler.search.tables import Table, open_table, play, shipped
from assembler.search.tables.play import compare

DECISIONS = """\
decisions:
  mix: {$oneof: [pool, {op: attention, heads: {$oneof: [2, 4]}}]}
  depth: {$int: [1, 2]}
"""
HEAD = "kind: table\nname: toy\nfile: toy{suffix}\n"
METRICS = "metrics: {acc: maximize, loss: {column: nll, goal: minimize}}\ncosts: [params]\n"
CSV = """\
mix,mix[attention].heads,depth,acc,nll,params
pool,,1,0.50,2.0,10
pool,,2,0.60,1.5,20
attention,2,1,0.70,1.0,30
attention,2,2,0.80,0.5,40
attention,4,1,0.90,,50

attention,4,2,0.75,0.7,60
attention,4,2,0.85,0.9,60
"""
BEST = {"mix": 1, "mix[attention].heads": 1, "depth": 1}
ROWS = [line.split(",") for line in CSV.splitlines() if line]


def described(folder: Path, text: str, suffix: str = ".csv", body: str = CSV) -> Path:
    file = folder / "toy.yaml"
    file.write_text(HEAD.format(suffix=suffix) + text)
    if suffix.endswith(".gz"):
        (folder / f"toy{suffix}").write_bytes(gzip.compress(body.encode()))
    elif body:
        (folder / f"toy{suffix}").write_text(body)
    return file


def as_csv(folder: Path) -> Path:
    return described(folder, DECISIONS + METRICS)


def as_csv_gz(folder: Path) -> Path:
    return described(folder, DECISIONS + METRICS, ".csv.gz")


def as_json_rows(folder: Path) -> Path:
    rows = [{k: v for k, v in zip(ROWS[0], row, strict=True) if v} for row in ROWS[1:]]
    return described(folder, DECISIONS + METRICS, ".json", json.dumps(rows))


def as_json_columns(folder: Path) -> Path:
    columns = {name: [row[i] or None for row in ROWS[1:]] for i, name in enumerate(ROWS[0])}
    return described(folder, DECISIONS + METRICS, ".json.gz", json.dumps(columns))


def as_json_names(folder: Path) -> Path:
    named = {
        f"{m}{h}x{d}": {"acc": float(a), "nll": float(n or "nan"), "params": int(p)} for m, h, d, a, n, p in ROWS[1:-1]
    }
    named["attention4x2"] |= {"acc": 0.80, "nll": 0.8}
    text = 'rows: {key: key, text: "{mix}{mix[attention].heads}x{depth}"}\n'
    return described(folder, DECISIONS + text + METRICS, ".json", json.dumps(named))


def as_npz(folder: Path) -> Path:
    picks = np.array([[r[0] == "attention", r[1] == "4", int(r[2])] for r in ROWS[1:]], dtype=np.uint8)
    numbers = np.array([[float(cell or "nan") for cell in r[3:]] for r in ROWS[1:]])
    np.savez(folder / "toy.npz", picks=picks, acc=numbers[:, 0], other=numbers[:, 1:])
    columns = """\
columns:
  mix: {column: picks, at: 0, codes: true}
  mix[attention].heads: {column: picks, at: 1, values: [0, 1]}
  depth: {column: picks, at: 2}
metrics: {acc: maximize, loss: {column: other, at: 0, goal: minimize}}
costs: {params: {column: other, at: 1}}
"""
    return described(folder, DECISIONS + columns, ".npz", "")


FORMATS = [as_csv, as_csv_gz, as_json_rows, as_json_columns, as_json_names, as_npz]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
def test_every_format_says_the_same(form: Callable[[Path], Path], tmp_path: Path) -> None:
    table = open_table(form(tmp_path))
    assert (table.name, len(table), table.space.size) == ("toy", 6, 6)
    assert table.metrics == {"acc": "maximize", "loss": "minimize"}
    assert table.evaluate({"mix": 0, "depth": 2}, "acc") == 0.6
    assert table.evaluate(BEST | {"depth": 2}, "acc") == pytest.approx(0.8)
    assert table.costs({"mix": 1, "mix[attention].heads": 0, "depth": 1}) == {"params": 30.0}
    assert table.best("acc") == (BEST, 0.9)
    assert table.best("loss") == ({"mix": 1, "mix[attention].heads": 0, "depth": 2}, 0.5)
    assert sorted(map(str, table.choices())) == sorted(map(str, table.space.every()))
    with pytest.raises(TaskError, match=r"has no loss for mix=attention, .*heads=4, depth=1"):
        table.evaluate(BEST, "loss")


def test_rows_may_stand_in_the_order_of_a_grid(tmp_path: Path) -> None:
    body = "acc\n" + "\n".join(f"{i}" for i in range(6))
    table = open_table(described(tmp_path, DECISIONS + "rows: grid\nmetrics: {acc: maximize}\n", body=body))
    assert [table.evaluate(choice, "acc") for choice in table.space.every()] == [0, 1, 2, 3, 4, 5]


def test_several_picks_are_words_or_lists(tmp_path: Path) -> None:
    text = "decisions: {taps: {$manyof: [a, b, c], k: 2, sorted: true}, order: {$permutate: [x, y]}}\n"
    text += "metrics: {v: maximize}\n"
    body = json.dumps([{"taps": "c+a", "order": ["y", "x"], "v": 3}, {"taps": ["b", "c"], "order": "x+y", "v": 1}])
    table = open_table(described(tmp_path, text, ".json", body))
    assert table.best("v") == ({"taps": (0, 2), "order": (1, 0)}, 3.0)
    assert table.evaluate({"taps": (1, 2), "order": (0, 1)}, "v") == 1.0


def test_a_measurement_is_drawn_of_those_there_are(tmp_path: Path) -> None:
    table, rng = open_table(as_csv(tmp_path)), random.Random(0)
    assert {table.evaluate(BEST | {"depth": 2}, "acc", rng) for _ in range(20)} == {0.75, 0.85}


def test_a_table_is_searched_like_training_and_its_gaps_are_infeasible(tmp_path: Path) -> None:
    body = "\n".join(line for line in CSV.splitlines() if not line.startswith("pool,,2")) + "\n"
    table = open_table(described(tmp_path, DECISIONS + METRICS, body=body))
    space = table.space
    study = run(space, lambda c: table.evaluate(c, "acc"), make("random", SearchSpec(space)), 10, cost=table.costs)
    assert (study.evaluated, study.stopped) == (5, "exhausted")
    assert study.best is not None and study.best.choice == BEST
    missing = [t for t in study.trials if t.state == "infeasible"]
    assert [t.reason for t in missing] == ["error: table 'toy' has no row for mix=pool, depth=2"]


def test_a_space_gives_decisions_and_architectures(tmp_path: Path) -> None:
    recipe = "kind: model\ninputs: {x: [B, 8]}\ngraph: {mix: {$oneof: [relu, {op: linear, out: {$oneof: [2, 4]}}]}}\n"
    (tmp_path / "net.yaml").write_text(recipe)
    body = "graph.mix,out,acc\nrelu,,1\nlinear,2,2\nlinear,4,3\n"
    names = [
        d.name
        for d in open_table(
            described(tmp_path, "space: net.yaml\nmetrics: {acc: maximize}\nrows: grid\n", body=body)
        ).space.decisions
    ]
    columns = f"columns: {{{names[0]}: graph.mix, '{names[1]}': out}}\n"
    table = open_table(described(tmp_path, f"space: net.yaml\nmetrics: {{acc: maximize}}\n{columns}", body=body))
    choice, value = table.best("acc")
    assert (value, table.has_graphs) == (3.0, True)
    graph = table.graph(choice)
    assert [(node.op, node.arg("out")) for _, node in graph] == [("linear", 4)]
    assert len({table.graph(c).fingerprint for c in table.choices()}) == 3
    with pytest.raises(InputError, match=r"does not say what its choices build\n.*hint: name the recipe"):
        open_table(as_csv(tmp_path)).graph(BEST)


WRONG = {
    "unknown metric": (
        "", "metrics: {acc: maximise}\n",
        "toy.yaml:7:11: error: which way is 'acc' better?",
        "did you mean 'maximize'",
    ),
    "no metrics": (
        "", "",
        "toy.yaml:1:1: error: a table needs metrics",
        "for instance metrics: {accuracy: maximize}",
    ),
    "unknown key": (
        "", METRICS + "cost: [params]\n",
        "toy.yaml:9:1: error: unknown key 'cost' in a table",
        "did you mean 'costs'?",
    ),
    "unknown column": (
        "", "metrics: {acc: maximize, accc: maximize}\n",
        "toy.csv has no column 'accc'",
        "did you mean 'acc'?",
    ),
    "unknown decision": (
        "", METRICS + "columns: {dept: depth}\n",
        "toy.yaml:9:11: error: there is no decision 'dept'",
        "did you mean 'depth'?",
    ),
    "unknown placeholder": (
        "", METRICS + "rows: {key: mix, text: '{mixer}'}\n",
        "toy.yaml:9:18: error: there is no decision 'mixer'",
        "did you mean 'mix'?",
    ),
    "rows": (
        "", METRICS + "rows: codes\n",
        "toy.yaml:9:1: error: 'rows' cannot be 'codes'",
        "columns, grid, or {key: COLUMN",
    ),
    "grid size": (
        "", "metrics: {acc: maximize}\nrows: grid\n",
        "toy.csv has 7 rows, but the space 6 choices",
        "",
    ),
    "values": (
        "", METRICS + "columns: {mix: {values: [pool]}}\n",
        "toy.yaml:9:16: error: 'values' of 'mix' are 1, but it has 2 candidates",
        "candidates: pool, attention",
    ),
    "place": (
        "", METRICS + "columns: {mix: {at: -1}}\n",
        "toy.yaml:9:17: error: 'at' of 'mix' is a whole number from 0, not -1",
        "",
    ),
    "no place": (
        "", METRICS + "columns: {depth: {column: acc, at: 3}}\n",
        "toy.yaml:9:18: error: column 'acc' holds no numbers a row, so there is none at 3",
        "",
    ),
    "label": (
        "", METRICS + "columns: {mix: acc}\n",
        "toy.csv:2: 'mix' cannot be '0.50'",
        "candidates: pool, attention",
    ),
    "number": (
        "", METRICS + "columns: {depth: nll}\n",
        "toy.csv:3: 'depth' cannot be '1.5'",
        "whole numbers from 1 to 2",
    ),
    "text": (
        "", "metrics: {mix: maximize}\n",
        "toy.csv:2: 'mix' is a number, not 'pool'",
        "",
    ),
    "countless": (
        "decisions: {rate: {$float: [0, 1]}}\n", METRICS,
        "'rate' has countless values, which no table holds",
        "$oneof: [0.1, 0.2]",
    ),
    "no choice": (
        "decisions: {rate: 3}\n", METRICS,
        "toy.yaml:4:1: error: there is no choice among the decisions",
        "",
    ),
    "bad choice": (
        "decisions: {rate: {$oneof: []}}\n", METRICS,
        "toy.yaml:4:20: error: '$oneof' needs a list of candidates",
        "",
    ),
    "no decisions": (
        "name2: 1\n", METRICS,
        "a table needs either 'decisions' or 'space'",
        "",
    ),
    "no space": (
        "space: digits_metaformr\n", METRICS,
        "toy.yaml:4:8: error: cannot find recipe 'digits_metaformr'",
        "did you mean 'digits_metaformer'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_description_has_its_line_and_a_hint(case: str, tmp_path: Path) -> None:
    decisions, rest, message, hint = WRONG[case]
    with pytest.raises((RecipeError, InputError)) as error:
        table = open_table(described(tmp_path, (decisions or DECISIONS) + rest))
        for metric in table.metrics:
            table.evaluate(BEST, metric)
    assert message in str(error.value)
    assert hint in str(error.value)


FILES = {
    "cells": (".csv", b"a,b\n1,2\n\n3\n", "toy.csv:4: 1 cells where the first line names 2 columns"),
    "names": (".csv", b"a,a\n1,2\n", "toy.csv:1: the name 'a' stands twice"),
    "empty": (".csv", b"", "toy.csv:1: there is no line of column names"),
    "quotes": (".csv", b'a,b\n"1,2\n', "this is no CSV"),
    "bytes": (".csv", b"a\n\xff\n", "cannot read"),
    "gzip": (".csv.gz", b"a\n1\n", "cannot read"),
    "json": (".json", b"{", "toy.json is no JSON"),
    "twice": (".json", b'{"a": {"v": 1}, "a": {"v": 2}}', "the name 'a' stands twice"),
    "deep": (".json", b"[" * 100_000, "toy.json is no JSON"),
    "lengths": (".json", b'{"a": [1], "b": []}', "its columns are of different lengths: a 1, b 0"),
    "scalar": (".json", b"[1, 2]", "toy.json holds no table"),
    "zip": (".npz", b"PK", "cannot read"),
    "format": (".pkl", pickle.dumps({}), "toy.pkl is no table that can be read"),
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_wrong_in_a_file_is_told(case: str, tmp_path: Path) -> None:
    suffix, body, message = FILES[case]
    file = described(tmp_path, DECISIONS + METRICS, suffix, "")
    (tmp_path / f"toy{suffix}").write_bytes(body)
    with pytest.raises(AssemblerError) as error:
        open_table(file)
    assert message in str(error.value)


def test_nothing_is_unpickled_and_sizes_are_not_believed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "touched",))

    text = "decisions: {mix: {$oneof: [a, b]}}\nmetrics: {v: maximize}\n"
    file = described(tmp_path, text, ".npz", "")
    np.savez(tmp_path / "toy.npz", mix=np.array([Bomb(), Bomb()], dtype=object), v=np.zeros(2))
    with pytest.raises(RecipeError, match="it holds Python objects, which are not unpickled"):
        open_table(file)
    assert not (tmp_path / "touched").exists()
    import zipfile

    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    header += b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "toy.npz", "w") as archive:
        archive.writestr("mix.npy", header)
    with pytest.raises(RecipeError, match="it says that it holds 800,000,000,000 bytes"):
        open_table(file)


def test_a_table_is_found_by_name_and_its_file_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "nas_bench_201" in shipped()
    with pytest.raises(InputError, match=r"there is no table 'nas_bench201'\n.*did you mean 'nas_bench_201'\?"):
        open_table("nas_bench201")
    monkeypatch.delenv("ASSEMBLER_DATA", raising=False)
    with pytest.raises(InputError, match=r"table 'nas_bench_201' needs the file nasbench201.npz\n.*set ASSEMBLER_DATA"):
        open_table("nas_bench_201")
    (tmp_path / "nas_bench_201").mkdir()
    some_cells(tmp_path / "nas_bench_201" / "nasbench201.npz")
    assert len(open_table("nas_bench_201", tmp_path)) == 3
    monkeypatch.setenv("ASSEMBLER_DATA", str(tmp_path))
    check_cells(open_table("nas_bench_201"))


def some_cells(file: Path) -> None:
    """The official files' form with three cells."""
    ops = np.array([[3, 3, 3, 1, 3, 2], [0, 0, 0, 0, 0, 0], [4, 1, 2, 3, 0, 1]], dtype=np.uint8)
    numbers = {
        f"{d}_{s}_e{e}": np.arange(3.0) for d in ("c10", "c100", "in16") for s in ("val", "test") for e in (12, 200)
    }
    np.savez(file, ops=ops, params=np.array([1, 2, 3]), mflops=np.array([1.0, 2.0, 3.0]), **numbers)


def check_cells(table: Table) -> None:
    assert table.space.size == 15625
    assert table.space.named(next(table.choices())) == {
        "vars.edge_0_1": "nor_conv_3x3", "vars.edge_0_2": "nor_conv_3x3", "vars.edge_1_2": "nor_conv_3x3",
        "vars.edge_0_3": "skip_connect", "vars.edge_1_3": "nor_conv_3x3", "vars.edge_2_3": "nor_conv_1x1",
    }  # fmt: skip
    assert len(table.metrics) == 12
    graph = table.graph(next(table.choices()))
    assert [n for n, node in graph if node.op == "conv2d"] == [
        f"e_{e}.conv" for e in ("0_1", "0_2", "1_2", "1_3", "2_3")
    ]


def test_the_measurements_that_there_are_make_the_mean(tmp_path: Path) -> None:
    one_is_empty = CSV.replace("attention,4,2,0.85,0.9,60", "attention,4,2,,0.9,60")
    table = open_table(described(tmp_path, DECISIONS + METRICS, body=one_is_empty))
    again = {"mix": 1, "mix[attention].heads": 1, "depth": 2}
    assert table.evaluate(again, "acc") == 0.75
    assert {table.evaluate(again, "acc", random.Random(seed)) for seed in range(8)} == {0.75}
    assert table.evaluate(again, "loss") == pytest.approx(0.8)


def test_a_column_that_is_wrong_is_told_before_a_search(tmp_path: Path) -> None:
    metrics = "metrics:\n  last: {column: curve, at: 7, goal: maximize}\n"
    rows = [{"depth": depth, "curve": [0.1, 0.2]} for depth in (1, 2)]
    file = described(tmp_path, "decisions: {depth: {$int: [1, 2]}}\n" + metrics, ".json", json.dumps(rows))
    with pytest.raises(RecipeError) as error:
        play(open_table(file), "random", "last", 2, 0)
    assert str(error.value).startswith(
        f"{file}:6:9: error: column 'curve' holds 2 numbers a row, so there is none at 7\n"
    )


def test_a_list_in_a_cell_is_told_with_its_row_and_how_one_of_it_is_meant(tmp_path: Path) -> None:
    rows = {"one": {"a": 1, "acc": [0.5, 0.6]}, "two": {"a": 2, "acc": [0.7]}}
    text = "decisions: {a: {$oneof: [1, 2]}}\nmetrics:\n  acc: maximize\n"
    table = open_table(described(tmp_path, text, ".json", json.dumps(rows)))
    with pytest.raises(RecipeError) as error:
        table.column("acc")
    said = str(error.value)
    assert said.startswith(f"{tmp_path}/toy.yaml:6:") and "'acc' is a number, not [0.5, 0.6]" in said
    assert "row 0 ('one')" in said and said.endswith("hint: say which one: acc: {column: acc, at: 0}")


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("[params]", "[parms]", 8, "has no column 'parms'"),
        ("{column: nll, ", "{column: nl, ", 7, "has no column 'nl'"),
    ],
)
def test_columns_that_are_not_there_are_told_on_opening(
    tmp_path: Path, old: str, new: str, line: int, told: str
) -> None:
    with pytest.raises(RecipeError) as error:
        open_table(described(tmp_path, DECISIONS + METRICS.replace(old, new)))
    assert f"toy.yaml:{line}:" in str(error.value) and told in str(error.value)
    assert "did you mean" in str(error.value)


def test_a_grid_of_another_size_is_told_where_the_rows_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        open_table(described(tmp_path, DECISIONS + METRICS + "rows: grid\n"))
    assert f"{tmp_path}/toy.yaml:9:1: error: " in str(error.value) and "but the space 6 choices" in str(error.value)


def test_a_table_without_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"toy\.csv: the file has no rows$"):
        open_table(described(tmp_path, DECISIONS + METRICS, body=CSV.splitlines()[0]))


def test_more_queries_than_choices_end_with_the_table(tmp_path: Path) -> None:
    (line,) = compare(open_table(as_csv(tmp_path)), ["random"], "acc", 10**12, range(2))
    assert len(line.curve) == 6
