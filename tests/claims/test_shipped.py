"""What shipped recipes claim holds: every exact claim of every one, at the size that it names itself."""

from __future__ import annotations

import pytest

import assembler as asm
from assembler.pipeline.claims.spec import claims_of
from assembler.recipe.document import load
from assembler.resources import shipped


def recipes(*, arms: bool) -> list[tuple[str, str]]:
    found = []
    for name in shipped():
        document = load(name, strict=False)
        found += [(name, claim.name) for claim in claims_of(document) if bool(claim.arms) is arms]
    return found


@pytest.mark.parametrize(("recipe", "claim"), recipes(arms=False))
def test_an_exact_claim_holds(recipe: str, claim: str) -> None:
    (found,) = asm.verify(recipe, claims=[claim])
    assert found.holds, found


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "claim"), recipes(arms=True))
def test_a_comparison_holds(recipe: str, claim: str) -> None:
    (found,) = asm.verify(recipe, claims=[claim])
    assert found.holds, found


def test_claims_are_shipped_and_some_train() -> None:
    assert len(recipes(arms=False)) >= 25
    assert recipes(arms=True)
