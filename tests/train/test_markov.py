"""Texts of Markov chains of any order."""

from __future__ import annotations

import pytest
import torch

from assembler.errors import InputError
from assembler.train.data.core import load, load_test

DATA = {"name": "markov", "train": 4, "test": 6000, "length": 16, "alphabets": [[0, 2], [1, 4]], "concentration": 0.5}


def after(data: dict[str, object], label: int, order: int = 2) -> torch.Tensor:
    """How often each token follows each combination of `order` tokens in a language, [combinations, 5]."""
    fields = load_test(data).fields
    tokens, follow = (fields[name][fields["label"] == label] for name in ("tokens", "next"))
    rows = sum(tokens[:, order - 1 - n : 16 - n] * 5**n for n in range(order))
    counts = torch.zeros(5**order, 5).index_put((rows, follow[:, order - 1 :]), torch.ones(()), accumulate=True)
    return counts / counts.sum(1, keepdim=True)


def test_next_is_the_text_one_on_and_each_language_has_its_alphabet() -> None:
    fields = load_test(DATA).fields
    assert torch.equal(fields["tokens"][:, 1:], fields["next"][:, :-1])
    assert fields["label"].bincount().tolist() == [3000, 3000]
    for label, (first, last) in enumerate(DATA["alphabets"]):
        seen = fields["tokens"][fields["label"] == label]
        assert (int(seen.min()), int(seen.max())) == (first, last)


def test_what_follows_depends_on_the_last_two_tokens_and_not_on_those_before() -> None:
    one, two, three = (after(DATA, 0, order)[..., :3] for order in (1, 2, 3))

    def apart(less: torch.Tensor, more: torch.Tensor) -> float:
        gaps = (more.reshape(5, *less.shape) - less).abs()
        return float(gaps[gaps.isfinite()].mean())

    assert apart(one, two) > 0.1 and apart(two, three) < 0.05


def test_another_length_and_one_language_more_leave_the_languages_as_they_are() -> None:
    three = {**DATA, "test": 9000, "alphabets": [*DATA["alphabets"], [0, 4]]}
    for label in (0, 1):
        first, second = after(DATA, label), after(three, label)
        known = first.isfinite() & second.isfinite()
        assert (first - second)[known].abs().mean() < 0.05
    other, first = after({**DATA, "seed": 1}, 0), after(DATA, 0)
    known = first.isfinite() & other.isfinite()
    assert (first - other)[known].abs().mean() > 0.1


@pytest.mark.parametrize("wrong", [{"alphabets": [[0, 0]]}, {"order": 0}, {"length": 0}, {"concentration": 0.0}])
def test_languages_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="markov needs alphabets"):
        load({**DATA, **wrong})


def test_tables_that_are_too_large_are_refused() -> None:
    with pytest.raises(InputError, match="more than 4,194,304 probabilities"):
        load({**DATA, "alphabets": [[0, 255]], "order": 2})
