"""Series that follow each other, and pairs to be remembered."""

from __future__ import annotations

import pytest
import torch

from assembler.errors import InputError
from assembler.train.data.core import load, load_test

SERIES = {"name": "lagged_series", "train": 200, "variates": 4, "steps": 12, "horizon": 3, "lag": 8, "noise": 0.0}
PAIRS = {"name": "associative_recall", "train": 300, "length": 10, "keys": 9, "values": 4, "apart": 3}


def test_the_first_series_goes_on_as_the_marked_one_did() -> None:
    found = load(SERIES).train.fields
    leads = found["past"].mean(2).argmax(1)
    assert leads.min() == 1 and leads.max() == 3
    followed = found["past"][torch.arange(200), leads, 4:7] - 3.0
    torch.testing.assert_close(found["future"], followed)
    other = load_test(SERIES).fields["past"]
    assert not torch.equal(other[:200], found["past"])


def test_a_key_is_asked_for_that_stood_before_and_apart() -> None:
    data = load(PAIRS)
    key, value, label = (data.train.fields[name] for name in ("key", "value", "label"))
    assert all(len(set(row)) == 9 for row in key[:, :-1].tolist()) and data.classes == 4
    where = (key[:, :-1] == key[:, -1:]).int().argmax(1)
    assert where.min() == 0 and where.max() == 6
    assert torch.equal(value[torch.arange(300), where], label) and set(value[:, -1].tolist()) == {4}


@pytest.mark.parametrize("wrong", [{"lag": 2}, {"lag": 13}, {"variates": 1}])
def test_series_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="horizon <= lag <= steps and at least two variates"):
        load({**SERIES, **wrong})


@pytest.mark.parametrize("wrong", [{"keys": 8}, {"apart": 10}, {"values": 1}])
def test_pairs_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="apart < length <= keys \\+ 1"):
        load({**PAIRS, **wrong})
