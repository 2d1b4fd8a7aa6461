"""Numbers as people read them (12.8 k, 3.6 M, 2 min 5 s) and the few statistics that a report needs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

NONE, MINUS, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
SHARES = frozenset({"accuracy", "top1", "top5", "f1", "precision", "recall", "validation", "score"})
COUNTED = frozenset({"params", "flops", "train_flops", "memory", "steps", "depth"})


def count(value: float | None) -> str:
    """A count with three significant figures and an SI letter: 12.8 k, 3.6 M, 940."""
    if value is None:
        return NONE
    for step, letter in PREFIXES:
        if abs(value) >= step * 0.9995:
            return f"{short(value / step)} {letter}"
    return short(value)


def result(value: float | None) -> str:
    """What a trial came to: four decimals, or six significant figures from 1,000 on."""
    if value is None:
        return NONE
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.6g}"


def figure(name: str, value: float | None) -> str:
    """What a trial came to in an objective or a cost: a count for what is counted, else as a result; with its unit."""
    if name == "latency" and value is not None:
        return f"{short(value)} ms"
    return count(value) if name in COUNTED else result(value)


def short(value: float) -> str:
    """At most three significant figures, no exponent between 0.001 and 1e6, no trailing zeros."""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def score(value: float | None, metric: str, *, places: int = 1) -> str:
    """A metric's value: shares (accuracy and its like) in per cent, everything else as a plain number."""
    if value is None:
        return NONE
    return f"{100 * value:.{places}f} %" if is_share(metric) else short(value)


def is_share(metric: str) -> bool:
    """Whether the metric lies between 0 and 1 and reads best in per cent."""
    return metric in SHARES


def spread(mean: float | None, deviation: float | None, metric: str) -> str:
    """Mean and standard deviation in one unit: `93.1 ± 0.4 %`."""
    if mean is None or deviation is None:
        return score(mean, metric)
    if is_share(metric):
        return f"{100 * mean:.1f} ± {100 * deviation:.1f} %"
    return f"{short(mean)} ± {short(deviation)}"


def points(gap: float, metric: str) -> str:
    """A difference with its sign; percentage points for shares."""
    shown = f"{100 * gap:+.1f} points" if is_share(metric) else f"{gap:+.3g}"
    return shown.replace("-", MINUS, 1)


def seconds(value: float | None) -> str:
    """A duration: 0.4 s, 12 s, 2 min 5 s, 3 h 20 min."""
    if value is None:
        return NONE
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plural(number: int, noun: str) -> str:
    """`1 part`, `1,200 parts`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def mean(values: Iterable[float]) -> float | None:
    """The mean, or None of nothing."""
    found = list(values)
    return statistics.fmean(found) if found else None


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None for under three pairs or a constant column."""
    if len(pairs) < 3:
        return None
    left, right = ranks([a for a, _ in pairs]), ranks([b for _, b in pairs])
    if min(left) == max(left) or min(right) == max(right):
        return None
    return statistics.correlation(left, right)


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of every value from 1; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        stop = start
        while stop < len(order) and values[order[stop]] == values[order[start]]:
            stop += 1
        for at in order[start:stop]:
            found[at] = (start + stop + 1) / 2
        start = stop
    return found


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The Pareto front of (cost, score) points: indices, cost rising, each scoring above every cheaper one."""
    best, found = -math.inf, []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            best = points[i][1]
            found.append(i)
    return found


def thin(length: int, most: int, keep: Iterable[int] = ()) -> list[int]:
    """At most about `most` evenly spread indices below `length`, with those in `keep` always among them."""
    if length <= most:
        return list(range(length))
    picked = {round(i * (length - 1) / (most - 1)) for i in range(most)}
    return sorted(picked | set(keep))
