"""What the choices of a space are worth, each trained once as its `search:` says: searches among them cost nothing."""

from __future__ import annotations

from assembler.assemble.product import Product
from assembler.checks.openings import Score
from assembler.errors import RecipeError, TaskError
from assembler.pipeline.claims.runs import Workshop
from assembler.pipeline.search.run import opened
from assembler.pipeline.search.settings import settings
from assembler.pipeline.search.trainer import Trainer
from assembler.recipe.choices import Choice
from assembler.recipe.document import Document
from assembler.search.moves import frozen
from assembler.search.trial import Trial

MOST = 20_000
"""How many choices are trained for a claim."""


def worth(document: Document, shop: Workshop) -> Score:
    """The validation of every choice, all of them trained. Raises RecipeError where there are too many.

    It raises TaskError for a choice whose training failed.
    """
    how = settings(document, {})
    trainer = Trainer(document, opened(document, how.reckoned), how, shop.runner.store, shop.device)
    space = trainer.candidates.space
    if space.size is None or space.size > MOST:
        count = "endlessly many" if space.size is None else f"{space.size:,}"
        said = f"the claim would train every choice, and there are {count}"
        raise RecipeError(said, hint=f"at most {MOST:,}, or an objective over decisions and costs")
    trainer.check()
    trials = [Trial(n, c, None, "running", labels=space.named(c)) for n, c in enumerate(space.every())]
    tasks = {frozen(trial.choice): trainer.task(trial, {}) for trial in trials}
    made = shop.made(tasks.values())

    def value(choice: Choice) -> float:
        found = made[tasks[frozen(choice)]]
        if not isinstance(found, Product):
            raise TaskError(found.reason)
        return float(found.result["validation"])

    return value
