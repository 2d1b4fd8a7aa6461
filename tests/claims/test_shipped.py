"""What shipped recipes claim holds: what trains nothing here, at the size that it names itself, and the rest slowly."""

from __future__ import annotations

import pytest

import assembler as asm
from assembler.pipeline.claims.arms import trains
from assembler.pipeline.claims.spec import claims_of
from assembler.recipe.document import load
from assembler.resources import data_home, shipped


def recipes(*, trained: bool) -> list[tuple[str, str]]:
    found = []
    for name in shipped():
        claims = claims_of(load(name, strict=False))
        found += [(name, one.name) for one in claims if (trains(one) if one.arms else bool(one.model)) is trained]
    return found


def is_there(recipe: str) -> bool:
    """Whether the files are there that the data of a recipe are read from."""
    home, text = data_home(), shipped()[recipe].read_text(encoding="utf-8")
    return "fashion_mnist" not in text or (home is not None and (home / "fashion_mnist").is_dir())


@pytest.mark.parametrize(("recipe", "claim"), recipes(trained=False))
def test_an_exact_claim_holds(recipe: str, claim: str) -> None:
    (found,) = asm.verify(recipe, claims=[claim])
    assert found.holds, found


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "claim"), recipes(trained=True))
def test_what_trains_holds(recipe: str, claim: str) -> None:
    if not is_there(recipe):
        pytest.skip("the recipe's data are not under ASSEMBLER_DATA")
    (found,) = asm.verify(recipe, claims=[claim])
    assert found.holds, found


def test_claims_are_shipped_and_some_train() -> None:
    assert len(recipes(trained=False)) >= 25
    assert recipes(trained=True)
