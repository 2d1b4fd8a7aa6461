"""One recipe a mistake, and the message that its author reads: place, source line, caret, hint.

`tests/golden/mistakes/NAME.yaml` is the recipe (a first line `# -o path=value` is an override), `NAME.txt` the message.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from assembler.errors import AssemblerError, RecipeError
from assembler.pipeline.checking.check import check
from assembler.recipe.document import load, parse
from assembler.wiring.build import build
from assembler.wiring.lint import lint

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "mistakes"
NAMES = sorted(file.stem for file in GOLDEN.glob("*.yaml"))
INTERNAL = re.compile(r"<bad>|None\b|Leaf|Seq\(|Map\(|<object|Traceback|\bself\b|entry|__")


def message(file: str) -> str:
    lines = Path(file).read_text().splitlines()
    overrides = [line.removeprefix("# -o ") for line in lines if line.startswith("# -o ")]
    try:
        return str(RecipeError(check(load(file, overrides, strict=False))))
    except AssemblerError as error:
        return str(error)


@pytest.mark.parametrize("name", NAMES)
def test_the_message_is_the_golden_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    assert message(f"{name}.yaml") + "\n" == (GOLDEN / f"{name}.txt").read_text()


def test_there_are_many_distinct_mistakes() -> None:
    heads = {(GOLDEN / f"{name}.txt").read_text().split(": error: ")[1].split("\n")[0] for name in NAMES}
    assert len(heads) >= 100


@pytest.mark.parametrize("name", NAMES)
def test_every_message_has_a_place_and_no_word_of_the_code(name: str) -> None:
    text = (GOLDEN / f"{name}.txt").read_text()
    heads = [line for line in text.splitlines() if ": error: " in line]
    assert heads
    assert len(set(heads)) == len(heads)
    for head in heads:
        assert re.match(r"\S+:\d+:\d+: error: ", head), head
    assert not INTERNAL.search(text), text
    assert text.count("^") >= len(heads)


def test_a_file_with_eight_mistakes_shows_all_eight_once_and_in_order() -> None:
    heads = [line for line in (GOLDEN / "eight_mistakes.txt").read_text().splitlines() if ": error: " in line]
    lines = [int(head.split(":")[1]) for head in heads]
    assert len(heads) == 8
    assert lines == sorted(lines)


def test_build_alone_says_where_a_choice_is_open() -> None:
    document = parse("inputs: {x: [B, 4]}\ngraph: {fc: {op: linear, out: {$oneof: [2, 4]}}}", "m.yaml")
    with pytest.raises(RecipeError) as caught:
        build(document.model)
    assert str(caught.value) == (
        "m.yaml:2:31: error: a choice is still open here\n"
        "    graph: {fc: {op: linear, out: {$oneof: [2, 4]}}}\n"
        "                                  ^^^^^^^^^^^^^^^^\n"
        "    hint: pick one with -o PATH=VALUE, or search over it"
    )


def test_a_base_outside_of_the_recipes_folder_is_refused_behind_a_symlink_too(tmp_path: Path) -> None:
    inside, outside = tmp_path / "recipes", tmp_path / "secret.yaml"
    inside.mkdir()
    outside.write_text("inputs: {x: [B, 4]}\ngraph: {act: relu}\n")
    (inside / "link.yaml").symlink_to(outside)
    (inside / "own.yaml").write_text("extends: link.yaml\n")
    with pytest.raises(RecipeError, match=r"own.yaml:1:10: error: a recipe may not reach 'link.yaml'"):
        load(inside / "own.yaml")
    shutil.copy(outside, inside / "copy.yaml")
    (inside / "own.yaml").write_text("extends: copy.yaml\n")
    assert len(build(load(inside / "own.yaml").model)) == 1


def test_a_sound_recipe_has_no_problems() -> None:
    for name in ("poolformer@s24", "digits_metaformer", "quickstart"):
        assert check(load(name, strict=False)) == []


def test_mistakes_in_a_file_that_is_extended_are_shown_there(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("inputs: {x: [B, 4]}\ngraph: {act: rellu}\n")
    (tmp_path / "own.yaml").write_text("extends: base.yaml\ndoc: [1]\ngraph: {fc: {op: linear, ou: 3}}\n")
    found = [str(p.span).removeprefix(f"{tmp_path}/") for p in lint(load(tmp_path / "own.yaml", strict=False))]
    assert found == ["own.yaml:3:18", "own.yaml:3:26", "base.yaml:2:14"]
