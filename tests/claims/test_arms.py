"""Arms: trained on paired seeds for equal FLOPs, through the store, and compared by any metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import assembler as asm
from assembler.errors import InputError, RecipeError
from assembler.recipe.document import parse

MODEL = """\
vars: {width: 8}
inputs: {image: [B, 1, 6, 6]}
graph: {flat: flatten, up: {op: linear, out: =width}, act: relu, head: {op: linear, out: 3}}
outputs: {logits: head}
"""
RUN = """\
kind: run
name: tiny
model: {inline}data: {name: blobs, train: 96, validation: 48, test: 48, size: 6, noise: 0.5}
train: {batch: 32, lr: 2e-2, epochs: 4}
phases:
  train: {trained: [head]}
  alone: {phase: train}
  whole: {phase: train, objective: [{loss: kl, value: logits, target: train.logits}]}
claims:
""".replace("{inline}", "\n" + "".join(f"  {line}" for line in MODEL.splitlines(keepends=True)))
WIDTHS = "arms: {narrow: {}, wide: {vars.width: 16}}"
ONE = "arms: {one: {}}"
HALVES = "{graph: {p: {op: softmax, dim: 1, from: logits}}, terms: [{value: p, name: mean}], split: test}"
SUMMED = "{graph: {all: {op: concat, from: ['*']}}, terms: [{value: all, name: mean}], split: test}"
AGAINST = "{split: validation, loss: mse, value: logits, target: train.logits}"
CLAIMS = f"""\
  accuracy: {{doc: A., {WIDTHS}, metric: test.accuracy, seeds: 2, expect: wide >= narrow - 1}}
  steps: {{doc: B., {WIDTHS}, budget: steps, seeds: 2, expect: wide < 0}}
  loss: {{doc: C., {ONE}, metric: {{split: validation, loss: mse, value: up, target: up}}, expect: one == 0}}
  values: {{doc: D., {ONE}, metric: {HALVES}, expect: abs(one - 1 / 3) < 1e-6}}
  every: {{doc: O., {ONE}, metric: {SUMMED}, expect: abs(one) < 100}}
  spent: {{doc: E., {WIDTHS}, metric: train_flops, budget: steps, expect: wide > 1.5 * narrow}}
  diverges: {{doc: F., arms: {{cold: {{}}, hot: {{train.lr: 1e30, train.clip: null}}}}, budget: steps, expect: hot > 0}}
  learned: {{doc: G., check: state_change, of: up, since: start, model: whole, expect: '> 0.01'}}
  held: {{doc: H., check: state_change, of: up, since: start, model: train, expect: == 0}}
  between: {{doc: I., check: state_change, of: head, since: train, model: whole, expect: '> 0.01'}}
  counted: {{doc: N., check: params, trained: true, model: train, expect: == 8 * 3 + 3}}
  real: {{doc: J., check: shape, of: s, inputs: validation, model: whole, graph: {{
    s: {{op: sum, dim: 1, from: logits}}}}, expect: '== [48]'}}
  own: {{doc: L., {ONE}, metric: {AGAINST}, model: train, expect: one == 0}}
  beside: {{doc: M., {ONE}, metric: {AGAINST}, model: whole, expect: one > 0.001}}
  trained: {{doc: K., {WIDTHS}, metric: {{check: state_change, since: start}}, model: whole, expect: wide > 0}}
""".replace("expect: one", "seeds: 1, expect: one").replace("expect: abs", "seeds: 1, expect: abs")


def run(claim: str, *, text: str = RUN, **options: Any) -> Any:
    return asm.verify(parse(f"{text}  it: {{doc: A claim., {claim}}}\n", "m.yaml"), workers=1, device="cpu", **options)[
        0
    ]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The verdicts of all claims by name, and the events of making them twice."""
    document = parse((RUN + CLAIMS).replace("seeds: 1", "seeds: [0]"), "m.yaml")
    events: list[list[Any]] = [[], []]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSEMBLER_HOME", str(tmp_path_factory.mktemp("claims")))
        verdicts = asm.verify(document, workers=1, device="cpu", on_event=events[0].append)
        again = asm.verify(document, claims=["accuracy", "real"], workers=1, device="cpu", on_event=events[1].append)
    return {v.claim: v for v in verdicts}, {v.claim: v for v in again}, events


def test_arms_train_for_the_flops_of_the_first_on_the_same_seeds(found: Any) -> None:
    verdict = found[0]["accuracy"]
    narrow, wide = verdict.arms
    assert verdict.holds
    assert verdict.seeds == (0, 1)
    assert verdict.held == 2
    assert narrow.steps == {"train": 12, "whole": 12}
    assert all(4 <= steps <= 7 for steps in wide.steps.values())
    assert wide.params == 36 * 16 + 16 + 16 * 3 + 3
    assert abs(wide.train_flops / narrow.train_flops - 1) < 0.1
    assert all(0 <= value <= 1 for arm in verdict.arms for value in arm.values)
    assert wide.gaps == tuple(w - n for w, n in zip(wide.values, narrow.values, strict=True))
    assert narrow.gaps == (0, 0)


def test_a_budget_of_steps_takes_the_recipes_own_lengths(found: Any) -> None:
    verdict = found[0]["steps"]
    assert [arm.steps for arm in verdict.arms] == [{"train": 12, "whole": 12}] * 2
    assert verdict.measures == "test.accuracy"
    assert not verdict.holds
    assert found[0]["spent"].holds


def test_what_is_trained_already_is_read_from_the_store(found: Any) -> None:
    verdicts, again, events = found
    assert [again[name].data() | {"seconds": 0} for name in again] == [
        verdicts[name].data() | {"seconds": 0} for name in again
    ]
    assert {e.kind for e in events[1]} == {"reused"}
    trainings = [e.task for e in events[0] if e.kind == "done" and e.task.phase in ("train", "whole")]
    assert len(trainings) == len(set(trainings))


def test_a_phases_own_steps_are_its_trained_parameters(found: Any) -> None:
    assert found[0]["counted"].holds, found[0]["counted"]


def test_objectives_over_values_are_metrics(found: Any) -> None:
    assert found[0]["loss"].holds
    assert found[0]["loss"].measures == "validation.mse"
    assert found[0]["values"].holds, found[0]["values"]
    assert found[0]["every"].holds, found[0]["every"]


def test_a_metric_compares_with_other_models_of_the_run(found: Any) -> None:
    assert found[0]["own"].holds
    assert found[0]["beside"].holds, found[0]["beside"]
    with pytest.raises(RecipeError, match=r"'trian\.logits' is a value of the model 'trian', which no phase") as caught:
        run(f"{ONE}, metric: {AGAINST.replace('train.', 'trian.')}, expect: one == 0")
    assert caught.value.problems[0].hint == "did you mean 'train'?"


def test_a_metric_reads_values_that_the_model_of_the_claim_alone_has(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path))
    text = RUN.replace(
        "claims:",
        "  other: {phase: tune, of: train, set: {graph.seen: {op: softmax, from: head}, outputs.seen: seen}}\nclaims:",
    )
    text = text.replace("epochs: 4", "steps: 1")
    metric = "metric: {split: test, terms: [{value: seen}]}"
    assert run(
        f"{ONE}, {metric}, model: other, budget: steps, seeds: 1, expect: abs(one - 1 / 3) < 1e-6", text=text
    ).holds
    with pytest.raises(RecipeError, match="the model has no value 'seen'"):
        run(f"{ONE}, {metric}, model: train, expect: one == 0", text=text)


def test_an_arm_that_diverges_does_not_hold_and_says_why(found: Any) -> None:
    verdict = found[0]["diverges"]
    assert not verdict.holds
    assert verdict.arms == ()
    assert "the loss" in verdict.reason


def test_checks_look_at_trained_models_and_real_samples(found: Any) -> None:
    named = ("learned", "held", "between", "real", "trained")
    assert [name for name in named if not found[0][name].holds] == []


def test_costs_and_checks_are_compared_without_training() -> None:
    events: list[Any] = []
    assert run(f"{WIDTHS}, metric: params, expect: wide < 2 * narrow", on_event=events.append).holds
    assert run(f"{WIDTHS}, metric: flops, expect: wide == 2 * narrow", on_event=events.append).holds
    metric = "{check: measure, of: up, take: std}"
    verdict = run(f"{WIDTHS}, metric: {metric}, seeds: 3, expect: wide > 0", on_event=events.append)
    assert verdict.holds
    assert len(verdict.arms[0].values) == 3
    assert events == []


@pytest.mark.slow
def test_a_model_recipe_says_how_its_arms_are_trained() -> None:
    how = "data: {name: blobs, train: 96, validation: 48, test: 48, size: 6}, train: {batch: 32, epochs: 1}"
    task = "task: {loss: mse, value: logits, target: logits}"
    claim = f"{WIDTHS}, {how}, {task}, seeds: 1, metric: test.loss, expect: wide == narrow == 0"
    verdict = run(claim, text=f"{MODEL}claims:\n")
    assert verdict.holds
    assert verdict.arms[0].steps == {"train": 3}


def test_what_is_wrong_with_claims_is_said_before_anything_runs() -> None:
    with pytest.raises(RecipeError, match="the expectation reads 'wider'"):
        run(f"{WIDTHS}, expect: wider > narrow")
    with pytest.raises(InputError, match="'recipe' has no claims"):
        asm.verify(parse("inputs: {x: [B, 4]}\ngraph: {y: relu}\n"))
    with pytest.raises(InputError, match="there is no claim 'at'"):
        run(f"{WIDTHS}, metric: params, expect: wide > narrow", claims=["at"])
    text = RUN[: RUN.index("phases:")] + "phases: {teacher: {}, incubate: {host: teacher}}\nclaims:\n"
    text = text.replace("claims:\n", "space: {up.out: {$oneof: [8, 16]}}\nsplit: [up]\nclaims:\n")
    with pytest.raises(RecipeError, match="arms of a run with a phase 'incubate' cannot be given equal FLOPs"):
        run(f"{WIDTHS}, expect: wide > 0", text=text)


SEARCHED = (
    RUN.replace("data:", "space: {act: {$oneof: [relu, tanh]}}\ndata:")
    .replace("claims:", "  search: {mode: trials, trials: 2, train: {epochs: 1}}\nclaims:")
    .replace("  alone: {phase: train}\n", "")
)


@pytest.mark.parametrize(("model", "searches"), [("train", 0), ("whole", 0), ("search", 1)])
def test_a_search_behind_the_model_of_a_claim_is_not_made(
    model: str, searches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path))
    claim = f"check: state_change, since: {model}, model: train, expect: '>= 0'"
    assert run(claim, text=SEARCHED).holds
    cards = [json.loads(card.read_text()) for card in tmp_path.rglob("card.json")]
    assert (sum(card["phase"] == "search" for card in cards) > 0) == searches


FITS = """\
kind: model
vars: {classes: 3}
inputs: {image: [B, 1, 6, 6]}
graph: {flat: flatten, head: {op: linear, out: =classes}}
outputs: {logits: head}
claims:
  size: {doc: A., check: params, expect: "> 0"}
  learn:
    doc: B.
    arms: {a: {}, b: {vars.classes: 2}, c: {head: {op: attention, num_heads: 5}}}
    data: {name: blobs, train: 96, validation: 48, test: 48, size: SIZE}
    train: {steps: 4}
    metric: test.accuracy
    expect: a >= b
"""


def test_arms_that_do_not_fit_their_data_are_told_before_any_is_trained() -> None:
    made: list[Any] = []
    with pytest.raises(RecipeError) as caught:
        asm.verify(parse(FITS.replace("SIZE", "6"), "m.yaml"), on_tasks=made.append)
    said = str(caught.value)
    assert made == [] and len(caught.value.problems) == 2
    assert "m.yaml:8:3: error: as arm 'b' has it, 'logits' tells 2 classes apart, and 'label' of the data has 3" in said
    assert "as arm 'c' has it, head (attention) does not accept flat" in said


def test_what_is_wrong_with_all_arms_alike_is_told_once() -> None:
    with pytest.raises(RecipeError) as caught:
        asm.verify(parse(FITS.replace("SIZE", "7").replace("op: attention", "op: linear, out: 3, bias: false")
                         .replace(", num_heads: 5", ""), "m.yaml"))  # fmt: skip
    (only,) = [p for p in caught.value.problems if "image" in p.message]
    assert only.message.startswith("as arm 'a' has it, ")
