"""Queries and documents: the data, the losses that learn from them and the metric that ranks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from assembler.errors import InputError
from assembler.train.data.core import load
from assembler.train.evaluate import higher_is_better
from assembler.train.losses.contrastive import mrr, similarity_kl

DATA = {"name": "retrieval", "train": 200, "concepts": 20, "spellings": 3, "words": 7}


def concepts(tokens: Tensor) -> list[set[int]]:
    """The concepts of each row, noise left out."""
    return [{(t - 1) // 3 for t in row if t <= 60} for row in tokens.tolist()]


def test_a_query_is_of_its_document_in_other_spellings() -> None:
    found = load(DATA).train.fields
    asked, whole = concepts(found["query"]), concepts(found["document"])
    assert all(len(q) == 4 and len(d) == 8 and q < d for q, d in zip(asked, whole, strict=True))
    assert concepts(found["twin"]) == whole
    for name in ("query", "twin"):
        pairs = zip(found[name].tolist(), found["document"].tolist(), strict=True)
        assert not any(set(one) & set(other) for one, other in pairs), "a token is the same"
    assert int(found["query"].max()) <= 60 + 7 and int(found["document"].max()) <= 60 and found["query"].min() > 0
    assert (found["query"] > 60).sum(1).tolist() == [6] * 200


def test_a_neighbour_is_of_the_same_repository_where_it_says_so() -> None:
    found = load({**DATA, "repositories": 2, "vocabulary": 8}).train.fields
    whole, near = concepts(found["document"]), concepts(found["neighbour"])  # of 8 concepts a document has all
    assert [a == b for a, b in zip(whole, near, strict=True)] == found["same"].bool().tolist()
    assert found["same"].float().mean() == 0.5
    assert len({frozenset(one) for one in whole}) == 2


def test_documents_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="at least two, of length <= vocabulary"):
        load({**DATA, "repositories": 1})
    with pytest.raises(InputError, match="asked <= length <= concepts"):
        load({**DATA, "length": 21})


def test_mrr_is_the_mean_of_one_over_the_rank() -> None:
    target = torch.eye(4)
    value = torch.tensor([[1.0, 0, 0, 0], [3, 2, 0, 0], [3, 2, 1, 0], [1, 1, 1, 1]])
    assert math.isclose(float(mrr(value, target)), (1 + 1 / 2 + 1 / 3 + 1 / 2.5) / 4, rel_tol=1e-6)
    assert math.isclose(float(mrr(5 * value, target / 7)), float(mrr(value, target)))
    assert higher_is_better("mrr") and not higher_is_better("mse")


def test_similarity_kl_is_the_divergence_written_out_and_moves_the_student_alone() -> None:
    q, d, tq, td = (torch.randn(5, n).double().requires_grad_() for n in (3, 3, 6, 6))
    found = similarity_kl(q, d, tq, td, temperature=0.5)
    p, s = ((a / a.norm(dim=1, keepdim=True)) @ (b / b.norm(dim=1, keepdim=True)).T for a, b in ((tq, td), (q, d)))
    p, s = (p / 0.5).softmax(1), (s / 0.5).softmax(1)
    torch.testing.assert_close(found, (p * (p / s).log()).sum(1).mean())
    found.backward()
    assert q.grad is not None and d.grad is not None and tq.grad is None and td.grad is None
    assert similarity_kl(tq, td, tq, td).abs() < 1e-12
