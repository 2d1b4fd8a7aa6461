"""Texts whose class lies in the order of their words."""

from __future__ import annotations

import pytest
import torch

from assembler.errors import InputError
from assembler.train.data.core import load, load_test

DATA = {"name": "chains", "train": 4000, "words": 15, "groups": 5, "classes": 2, "labelled": 100}


@pytest.mark.parametrize("followers", [1, 2])
def test_words_of_a_group_are_used_alike_and_a_class_says_which_groups_follow(followers: int) -> None:
    test = load_test({**DATA, "followers": followers, "test": 4000}).fields
    tokens, label = test["tokens"], test["label"]
    assert tokens.min() == 1 and tokens.max() == 15 and label.bincount().tolist() == [2000, 2000]
    follow = []
    for one in range(2):
        rows = tokens[label == one]
        seen = torch.zeros(16, 16, dtype=torch.bool)
        seen[rows[:, :-1].flatten(), rows[:, 1:].flatten()] = True
        after = seen[1:, 1:]  # of 15 words in groups of 3
        assert after.sum(1).tolist() == [3 * followers] * 15 and after.sum(0).tolist() == [3 * followers] * 15
        assert len(after.unique(dim=0)) == len(after.T.unique(dim=0)) == 5
        follow.append(after)
    assert not torch.equal(*follow)


def test_which_words_there_are_tells_no_class() -> None:
    test = load_test({**DATA, "test": 4000}).fields
    one, other = (test["tokens"][test["label"] == c].flatten().bincount(minlength=16) / (2000 * 24) for c in (0, 1))
    assert (one - other).abs().max() < 0.01 and one.max() > 2.5 * one[1:].min()  # but some words are rare


def test_masks_take_the_place_of_their_share_of_words() -> None:
    train = load({**DATA, "masked": 0.25}).train.fields
    hidden = train["masked"] == 0
    assert abs(hidden.float().mean() - 0.25) < 0.01 and torch.equal(train["masked"][~hidden], train["tokens"][~hidden])
    plain = load(DATA).train.fields
    assert "masked" not in plain and torch.equal(plain["tokens"], train["tokens"])


def test_all_but_the_first_labels_of_training_are_left_out() -> None:
    data = load(DATA)
    assert (data.train.fields["label"] >= 0).nonzero().flatten().tolist() == list(range(100))
    assert (data.validation.fields["label"] >= 0).all() and data.classes == 2
    assert (load({**DATA, "labelled": None}).train.fields["label"] >= 0).all()


@pytest.mark.parametrize("wrong", [{"followers": 6}, {"masked": 1.0}, {"length": 0}])
def test_chains_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="followers <= groups <= words"):
        load({**DATA, **wrong})
