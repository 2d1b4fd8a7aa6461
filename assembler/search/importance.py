"""How much each decision of a space says about what its trials came to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from assembler.search.trial import Trial

_BINS = 4
_CLOSED = ""


def importance(trials: Sequence[Trial], objective: int = 0) -> dict[str, float]:
    """The share of the variance of an objective that each decision explains on its own, the largest first.

    Complete trials are grouped by what was picked (numbers of many values in four quantiles; where a decision is not
    open is a group too). The share is that of the variance between groups, adjusted for their number: a decision that
    has no influence has about 0. It says nothing of what decisions do together (first order, as in functional ANOVA,
    Hutter et al. 2014). Empty where fewer than three trials differ.
    """
    done = [t for t in trials if t.state == "complete" and t.values and len(t.values) > objective]
    values = [(t.values or ())[objective] for t in done]
    if len(done) < 3 or min(values) == max(values):
        return {}
    names = dict.fromkeys(name for t in done for name in t.labels)
    found = {name: _share(_groups([t.labels for t in done], name), values) for name in names}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _share(groups: Sequence[str], values: Sequence[float]) -> float:
    """Adjusted R2 of the groups' means."""
    inside: dict[str, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        inside.setdefault(group, []).append(value)
    free, mean = len(values) - len(inside), statistics.fmean(values)
    if len(inside) < 2 or free < 1:
        return 0.0
    left = sum((v - statistics.fmean(own)) ** 2 for own in inside.values() for v in own)
    whole = sum((v - mean) ** 2 for v in values)
    return max(0.0, 1.0 - left / whole * (len(values) - 1) / free)


def _groups(labels: Sequence[Mapping[str, str]], name: str) -> list[str]:
    picked = [one.get(name, _CLOSED) for one in labels]
    numbers = sorted(v for text in picked if (v := _number(text)) is not None)
    if len(set(numbers)) <= 2 * _BINS or len(numbers) < sum(text != _CLOSED for text in picked):
        return picked
    edges = [numbers[len(numbers) * i // _BINS] for i in range(1, _BINS)]
    return [_CLOSED if (v := _number(text)) is None else str(sum(v >= edge for edge in edges)) for text in picked]


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
