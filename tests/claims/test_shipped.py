"""What shipped recipes claim holds: what trains nothing here, at the size that it names itself, and the rest slowly."""

from __future__ import annotations

import pytest

import assembler as asm
from assembler.pipeline.claims.arms import trains
from assembler.pipeline.claims.spec import claims_of
from assembler.recipe.document import load
from assembler.resources import shipped


def recipes(*, trained: bool) -> list[tuple[str, str]]:
    found = []
    for name in shipped():
        document = load(name, strict=False)
        found += [(name, claim.name) for claim in claims_of(document) if bool(claim.arms and trains(claim)) is trained]
    return found


@pytest.mark.parametrize(("recipe", "claim"), recipes(trained=False))
def test_an_exact_claim_holds(recipe: str, claim: str) -> None:
    (found,) = asm.verify(recipe, claims=[claim])
    assert found.holds, found


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "claim"), recipes(trained=True))
def test_a_comparison_holds(recipe: str, claim: str) -> None:
    (found,) = asm.verify(recipe, claims=[claim])
    assert found.holds, found


def test_claims_are_shipped_and_some_train() -> None:
    assert len(recipes(trained=False)) >= 25
    assert recipes(trained=True)
