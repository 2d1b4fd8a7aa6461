"""Values of frozen models on disk: read again by whoever needs the same, never stale, within a limit."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from assemble_models import BLOCKWISE, data, graph, model, part, training

from assembler import resources
from assembler.assemble.frozen import Frozen, kept, piece
from assembler.assemble.incubate import Seat, incubate
from assembler.assemble.models import Model
from assembler.assemble.values import ValueCache, key_of
from assembler.errors import InputError
from assembler.graph.values import with_items


def one(host: Model | None = None, value: str = "stem") -> Frozen:
    return piece(host or model(graph()), {"v0": value}, {"v0": f"host.{value}"}, "cpu")


def test_values_are_computed_once_and_the_same(tmp_path: Path) -> None:
    cache, split = ValueCache(tmp_path, 10**9), data().train
    first, again, live = (kept(split, [one()], c) for c in (cache, cache, None))
    assert first is not None and again is not None and live is not None
    for held in (first, again):
        assert torch.equal(held.split.fields["host.stem"], live.split.fields["host.stem"])
    assert first.shared == again.shared and list(first.shared.values()) == [one().flops * len(split)]
    assert live.shared == {} and len(list(tmp_path.glob("*.safetensors"))) == 1


def test_another_name_in_the_objective_is_no_other_value(tmp_path: Path) -> None:
    cache, split = ValueCache(tmp_path, 10**9), data().train
    for name in ("host.stem", "teacher.stem"):
        found = kept(split, [replace(one(), names={"v0": name})], cache)
        assert found is not None and name in found.split.fields
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_what_has_as_many_rows_as_a_batch_by_chance_is_no_value_of_samples(tmp_path: Path) -> None:
    split = data(3).train  # the head's weight has three rows
    there = Model(with_items(graph(), ["head.weight"]), model(graph()).weights)
    weight = piece(there, {"v0": "head.weight"}, {"v0": "host.head.weight"}, "cpu")
    assert len(weight(split.fields)["host.head.weight"]) == len(split)
    assert kept(split, [weight]) is None and kept(split, [weight], ValueCache(tmp_path, 10**9)) is None


def test_other_weights_samples_or_steps_are_other_values() -> None:
    split = data().train
    keys = {
        key_of(one(), split), key_of(one(model(graph(), seed=1)), split), key_of(one(value="early"), split),
        key_of(one(), data(64).train), key_of(one(), split),
    }  # fmt: skip
    assert len(keys) == 4


def test_the_oldest_values_make_room(tmp_path: Path) -> None:
    split = data().train
    size = one()(split.fields)["host.stem"].nbytes
    cache = ValueCache(tmp_path, int(2.5 * size) + 1000)
    hosts = [one(model(graph(), seed=seed)) for seed in range(3)]
    kept(split, hosts[:1], cache)
    kept(split, hosts[1:2], cache)
    kept(split, hosts[:1], cache)  # used again, so that the second is the oldest
    kept(split, hosts[2:], cache)
    assert {f.stem for f in tmp_path.glob("*.safetensors")} == {key_of(hosts[n], split) for n in (0, 2)}


def test_what_is_larger_than_the_limit_or_cannot_be_written_is_computed_all_the_same(tmp_path: Path) -> None:
    split = data().train
    (tmp_path / "file").write_text("in the way")
    for cache in (ValueCache(tmp_path / "small", 10), ValueCache(tmp_path / "file" / "below", 10**9)):
        found = kept(split, [one()], cache)
        assert found is not None and "host.stem" in found.split.fields
    assert not list((tmp_path / "small").glob("*.safetensors"))


def test_a_part_is_the_same_with_the_cache_and_counts_what_it_shares(tmp_path: Path) -> None:
    host, content, cache = model(graph()), data(), ValueCache(tmp_path, 10**9)
    seats = [Seat(host, "stage.1", part("stage.1", token)) for token in ("dwconv", "pool")]
    alone = [incubate(seat, content, training(BLOCKWISE)) for seat in seats]
    shared = [incubate(seat, content, training(BLOCKWISE), cache=cache) for seat in seats]
    for a, b in zip(alone, shared, strict=True):
        assert all(torch.equal(t, b.weights[k]) for k, t in a.weights.items())
        assert a.flops == b.flops + sum(b.shared.values()) and not a.shared
    assert shared[0].shared == shared[1].shared and shared[0].shared
    shifted = incubate(seats[0], content, training(BLOCKWISE, augment={"shift": 1}), cache=cache)
    assert not shifted.shared and shifted.flops > shared[0].flops


def _ask(folder: str, made: str) -> None:
    def make() -> dict[str, torch.Tensor]:
        with Path(made).open("a") as stream:
            stream.write("made\n")
        return {"v": torch.ones(3)}

    assert torch.equal((ValueCache(Path(folder), 10**6).get("key", make) or {})["v"], torch.ones(3))


def test_processes_that_ask_at_once_make_values_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    asked = [context.Process(target=_ask, args=(str(tmp_path / "values"), str(tmp_path / "made"))) for _ in range(3)]
    for process in asked:
        process.start()
    for process in asked:
        process.join()
    assert [p.exitcode for p in asked] == [0, 0, 0] and (tmp_path / "made").read_text() == "made\n"


def test_the_limit_is_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSEMBLER_CACHE", raising=False)
    assert resources.cache_limit() == 4_000_000_000
    monkeypatch.setenv("ASSEMBLER_CACHE", "2.5e6")
    assert resources.cache_limit() == 2_500_000
    monkeypatch.setenv("ASSEMBLER_CACHE", "much")
    with pytest.raises(InputError, match="ASSEMBLER_CACHE is a number of bytes, not 'much'"):
        resources.cache_limit()
