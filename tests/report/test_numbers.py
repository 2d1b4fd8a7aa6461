from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.report import numbers, svg

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (940, "940"), (12_800, "12.8 k"), (3_600_000, "3.6 M"), (999_999, "1 M"), (2.5e12, "2.5 T")],
)
def test_counts_read_as_people_write_them(value: float, words: str) -> None:
    assert numbers.count(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(0.42, "0.4 s"), (12, "12 s"), (125, "2 min 5 s"), (12_000, "3 h 20 min")]
)
def test_durations(value: float, words: str) -> None:
    assert numbers.seconds(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.5, "0.5000"), (-89, "-89.0000"), (297482.0, "297,482"), (-1e7, "-1e+07"), (None, numbers.NONE)],
)
def test_results_of_trials(value: float | None, words: str) -> None:
    assert numbers.result(value) == words


def test_shares_are_per_cent_and_other_metrics_are_not() -> None:
    assert numbers.spread(0.931, 0.004, "accuracy") == "93.1 ± 0.4 %"
    assert numbers.spread(2.31, 0.04, "perplexity") == "2.31 ± 0.04"


def test_spearman_is_one_for_any_rising_curve_and_shares_tied_ranks() -> None:
    assert numbers.spearman([(1, 1), (2, 8), (3, 27)]) == pytest.approx(1)
    assert numbers.spearman([(1, 3), (2, 2), (3, 1)]) == pytest.approx(-1)
    assert numbers.ranks([5, 1, 5]) == [2.5, 1, 2.5]
    assert numbers.spearman([(1, 1), (1, 2), (1, 3)]) is None


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=40))
def test_nothing_beats_the_front(points: list[tuple[float, float]]) -> None:
    best = [points[i] for i in numbers.front(points)]
    assert best == sorted(best) and [s for _, s in best] == sorted(s for _, s in best)
    for cost, value in points:
        assert any(c <= cost and s >= value for c, s in best)


@given(finite, finite)
def test_ticks_are_few_and_inside(a: float, b: float) -> None:
    low, high = sorted((a, b))
    if high - low > 1e-6 * max(1, abs(high)):
        found = svg.nice_ticks(low, high, 6)
        room = (high - low) * 1e-6
        assert 1 <= len(found) <= 7
        assert len(found) == 1 or all(low - room <= t <= high + room for t in found)


def test_log_ticks_are_round() -> None:
    assert svg.log_ticks(900, 120_000) == [1000, 3000, 10_000, 30_000, 100_000]


@given(st.text(max_size=60), st.floats(20, 200))
def test_clipped_text_fits(words: str, width: float) -> None:
    shown = svg.clip(words, width)
    assert shown == "…" or svg.text_width(shown) <= width
