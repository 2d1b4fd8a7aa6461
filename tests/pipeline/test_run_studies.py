"""A search inside a run is a search like any other: its study, its going on, its page, and what asks for its trials."""

from __future__ import annotations

import io
import json
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from inside import Inside
from tiny_runs import TINY, Done, changed, trials

import assembler as asm
from assembler.assemble import runner
from assembler.assemble.runner import Event
from assembler.assemble.store import Store
from assembler.errors import InputError
from assembler.infer.cost import total
from assembler.pipeline.progress import Progress
from assembler.pipeline.run import run_recipe
from assembler.pipeline.search.trials import named, searched
from assembler.recipe.document import Document, load, parse
from assembler.search.command import Command, give
from assembler.search.storage import load_study, storage_url

QUICK = ("train.epochs=1", "phases.export.formats=[safetensors]")
SEARCH = "    sampler: exact\n    trials: 6\n    budget: {params: =0.97 * teacher}\n"
TEXT = TINY.read_text()
MODEL = TEXT.partition("model:\n")[2].partition("data:")[0]
INCUBATE = "  incubate:\n" + TEXT.partition("  incubate:\n")[2].partition("  search:")[0]
REST = "  assemble:\n" + TEXT.partition("  assemble:\n")[2].partition("  export:")[0]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "Pool", lambda root, workers, devices=(): Inside(Store(root)))


def trained(search: str, *overrides: str) -> Document:
    """The tiny run whose search trains its candidates, and which ends there."""
    return parse(text_of(search), overrides=(*QUICK, *overrides))


def text_of(search: str, *pairs: tuple[str, str]) -> str:
    seeds = ("seeds: [0, 1]", "seeds: [0]")
    section = (SEARCH, f"    {search}\n"), ("  search:\n    ", "  search: ")
    return changed((INCUBATE, ""), *section, (REST, ""), seeds, *pairs)


def is_trial(event: Event) -> bool:
    """Whether a trial was trained or scored just now."""
    made = event.task.run.endswith(("jobs:train", ":score"))
    return made and event.task.phase == "search" and event.kind == "done"


class Stop(BaseException):
    """What an interrupt is."""


def after(count: int) -> Any:
    """Interrupts a run when so many trials of its search are done, the last one before that is written down."""
    seen: list[Event] = []

    def hear(event: Event) -> None:
        seen.extend([event] if is_trial(event) else [])
        if len(seen) == count:
            raise Stop

    return hear


CANDIDATES = "train: {epochs: 1}, trials: 5"


@pytest.mark.parametrize(
    "search",
    [
        f"{{mode: trials, sampler: {{name: evolution, population_size: 2}}, {CANDIDATES}}}",
        f"{{mode: inherit, sampler: tpe, prune: {{name: median, startup: 1}}, {CANDIDATES.replace('1', '3')}}}",
        "{mode: supernet, sampler: random, supernet: {train: spos, epochs: 1, then: keep}, trials: 5}",
    ],
    ids=["trials", "inherit", "supernet"],
)
def test_a_search_that_was_interrupted_goes_on_as_if_it_had_not_been(
    search: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = trained(search)
    whole, _ = asm.run(document, workers=1, device="cpu")
    monkeypatch.setenv("ASSEMBLER_HOME", str(places / "other"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(places / "again"))
    for count in (3, 1):
        with pytest.raises(Stop):
            asm.run(document, workers=1, device="cpu", on_event=after(count))
        (left,) = (places / "again" / "tiny").iterdir()
        assert {f.name for f in left.iterdir()} == {"study.log"}
    ended = searched(str(left)).status
    assert 2 <= ended.evaluated < 5
    begun: list[Event] = []
    folder, _ = asm.run(document, workers=1, device="cpu", on_event=begun.append)
    assert folder == left and trials(folder) == trials(whole)
    assert sum(map(is_trial, begun)) <= 5 - ended.evaluated


def test_a_run_that_was_finished_is_not_gone_on_with(places: Path) -> None:
    document = trained(f"{{mode: trials, sampler: random, {CANDIDATES}}}", "phases.search.trials=2")
    first, _ = asm.run(document, workers=1, device="cpu")
    second, _ = asm.run(document, workers=1, device="cpu")
    assert first != second and trials(first) == trials(second)


TWINS = """
kind: run
name: twins
model:
  inputs: {image: [B, 1, 6, 6]}
  graph:
    stem: {op: conv2d, out: 4, kernel_size: 3, padding: same}
    mixed:
      op: branches
      merge: add
      body:
        left: {op: conv2d, out: 4, kernel_size: 3, padding: same}
        right: {op: conv2d, out: 4, kernel_size: 3, padding: same}
    pool: global_avg_pool
    head: {op: linear, out: 3}
  outputs: {logits: head}
space:
  mixed.left.kernel_size: {$oneof: [1, 3]}
  mixed.right.kernel_size: {$oneof: [1, 3]}
data: {name: blobs, train: 32, validation: 16, test: 16, size: 6}
split: [mixed.left, mixed.right]
train: {epochs: 1}
phases:
  teacher: {}
  incubate: {host: teacher}
  search: {sampler: SAMPLER, trials: 4}
  export: {formats: [safetensors]}
"""


@pytest.mark.parametrize("sampler", ["grid", "smbo", "bayes"])
def test_a_part_in_another_slot_is_another_part(sampler: str, places: Path) -> None:
    """Two slots that stand for each other: the graphs of two assemblies are equal, their weights are not."""
    heard: list[Event] = []
    folder, summary = asm.run(parse(TWINS.replace("SAMPLER", sampler)), workers=1, device="cpu", on_event=heard.append)
    found = [json.loads(line) for line in (folder / "candidates.jsonl").read_text().splitlines()]
    done = {tuple(one["choice"].values()): one["loss"] for one in found if one["state"] == "complete"}
    assert len(done) == 4 == sum(map(is_trial, heard)) == summary["search"]["evaluated"]
    assert len({*done.values()}) == 4


def test_what_asks_for_trials_finds_those_of_a_run(done: Done, tmp_path: Path) -> None:
    study = searched(str(done.folder), "tiny-seed1")
    best = study.trial("best")
    assert study.status.objectives == ("loss",) and study.status.states == {"complete": 6}
    assert study.seed == {"stage.0": "dwconv", "stage.1": "dwconv"} and study.seed_costs["params"] == 549
    assert study.values(best)["loss"] == min(row["loss"] for row in done.rows("candidates.jsonl") if row["seed"] == 1)
    (link,) = study.chain(best)
    assert [e.after for e in link.edits] == [v for k, v in best.labels.items() if v != study.seed[k]]
    made = named(f"{done.folder}#{best.number}", "tiny-seed1")
    assert made.costs["params"] == total(made.graph).params == best.costs["params"]
    file = tmp_path / "picked.yaml"
    file.write_text(study.pick({"params": 490}).recipe)
    assert total(asm.graph(file)).params <= 490
    assert study.words(load(file)) == study.pick({"params": 490}).labels


def test_several_searches_of_a_run_are_named(done: Done) -> None:
    with pytest.raises(InputError) as caught:
        searched(str(done.folder))
    assert "has 2 studies" in str(caught.value) and "name one with --study; studies: tiny-seed0, tiny-seed1" in str(
        caught.value
    )


def test_the_report_has_the_page_of_each_search(done: Done) -> None:
    page = (done.folder / "report.html").read_text()
    for seed in (0, 1):
        for figure, head in (
            ("front", "The front"),
            ("history", "The search over time"),
            ("lineage", "Where the best"),
        ):
            assert f'id="{figure}-{seed}"' in page and head in page
        assert f"What the search did · seed {seed}" in page
    assert 'id="candidates"' in page and "loss of every trial in the order" in page


def test_a_run_shows_its_search_as_a_search_does() -> None:
    out = io.StringIO()
    with Progress(out) as progress:
        run_recipe(parse(TWINS.replace("SAMPLER", "grid")), workers=1, device="cpu", on_search=progress.search)
    said = out.getvalue().splitlines()
    assert said[0].startswith("[search 1/4] best so far: trial 0, loss ") and " params, " in said[0]
    assert said[0].endswith("flops: mixed.left=kernel_size=1 mixed.right=kernel_size=1")


def test_where_what_a_search_stood_on_has_changed_it_begins_anew(places: Path) -> None:
    """The trials compare with a teacher that is a recipe of its own."""
    (places / "other.yaml").write_text("kind: model\n" + textwrap.dedent(MODEL))
    compared = "task: {loss: kl, value: logits, target: teacher.logits}\nmetric: loss\nphases:\n"
    pairs = ("phases:\n", compared), ("  teacher: {}\n", "  teacher: {model: other.yaml, train: {epochs: 0}}\n")
    (places / "tiny.yaml").write_text(text_of(f"{{mode: trials, sampler: grid, {CANDIDATES}}}", *pairs))
    with pytest.raises(Stop):
        asm.run(places / "tiny.yaml", *QUICK, workers=1, device="cpu", on_event=after(3))
    (left,) = (places / "runs" / "tiny").iterdir()
    (places / "other.yaml").write_text("kind: model\n" + textwrap.dedent(MODEL).replace("ratio: 2", "ratio: 3"))
    heard: list[Event] = []
    folder, _ = asm.run(places / "tiny.yaml", *QUICK, workers=1, device="cpu", on_event=heard.append)
    assert folder == left and [one["state"] for one in trials(folder)] == ["complete"] * 5
    assert sum(map(is_trial, heard)) == 5 and searched(str(folder)).status.states == {"complete": 5}


def test_what_is_said_to_a_search_is_heard_by_a_run(places: Path) -> None:
    said: list[str] = []

    def hear(event: Event) -> None:
        if is_trial(event) and not said:
            (folder,) = (places / "runs" / "tiny").iterdir()
            study = load_study(storage_url(str(folder)))
            said.extend(give(study, Command(enqueue=({"stage.0.block.mixer": "zero"},), trials=3)))
            time.sleep(0.1)  # it looks twenty times a second

    document = trained(f"{{mode: trials, sampler: grid, {CANDIDATES.replace('5', '2')}}}")
    folder, summary = asm.run(document, workers=1, device="cpu", on_event=hear)
    found = searched(str(folder)).status
    assert said[1] == "it goes on up to 3 trials" and summary["search"]["evaluated"] == found.evaluated == 3
    assert any(t.labels["stage.0.block.mixer"] == "zero" for t in found.trials)


def test_a_search_by_several_workers_goes_on_with_the_parents_that_there_were() -> None:
    """Two trials begin at once, so that the second has no parent, though it would have one if it began now."""
    document, heard = trained(f"{{mode: inherit, sampler: grid, {CANDIDATES.replace('5', '3')}}}"), list[Event]()

    def stop(event: Event) -> None:
        if event.task.run.endswith(":record"):
            raise Stop

    with pytest.raises(Stop):
        asm.run(document, workers=2, device="cpu", on_event=stop)
    asm.run(document, workers=2, device="cpu", on_event=heard.append)
    assert heard and not any(map(is_trial, heard))
