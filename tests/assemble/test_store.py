"""The store: whole or absent, one maker a key, a full disk, and what killed processes leave."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assembler.assemble.product import Product
from assembler.assemble.store import Store
from assembler.errors import StoreError

KEY = "ab" * 20
CARD = {"run": "jobs:add", "inputs": {}, "code": "", "label": "part", "phase": "", "needs": {}, "seconds": 0.1}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "assembler-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def put(store: Store, key: str = KEY, weights: bytes = b"weights") -> Product:
    with store.lock(key), store.scratch(key) as folder:
        (folder / "weights.safetensors").write_bytes(weights)
        return store.commit(folder, key, {**CARD, "result": {"score": 0.5}})


def left(store: Store) -> list[Path]:
    return [f for folder in (store.tmp, store.locks) if folder.is_dir() for f in folder.iterdir()]


def test_a_product_is_read_as_it_was_written(store: Store) -> None:
    assert store.get(KEY) is None and list(store.products()) == []
    put(store)
    product = store.get(KEY)
    assert product and product.result == {"score": 0.5} and product.files == ("weights.safetensors",)
    assert product.file("weights.safetensors").read_bytes() == b"weights" and product.size == 7
    assert product.path == store.root / "parts" / "ab" / KEY and product.card["label"] == "part"
    assert product.card["versions"]["python"] == sys.version.split()[0]
    assert list(store.products()) == [product] and left(store) == []
    product.check()


def test_an_unknown_file_is_named_with_the_nearest(store: Store) -> None:
    product = put(store)
    with pytest.raises(StoreError) as caught:
        product.file("weight.safetensors")
    assert "has no file 'weight.safetensors'" in str(caught.value)
    assert "did you mean 'weights.safetensors'?" in str(caught.value)


def test_the_first_of_two_equal_products_stays(store: Store) -> None:
    first = put(store).path.stat().st_ino
    product = put(store, weights=b"others")
    assert product.path.stat().st_ino == first and product.file("weights.safetensors").read_bytes() == b"weights"
    assert left(store) == []


@pytest.mark.parametrize("damage", ["no card", "half a card", "other key", "file gone", "file cut", "not a card"])
def test_what_is_not_whole_is_absent_and_replaced(store: Store, damage: str) -> None:
    path = put(store).path
    card, weights = path / "card.json", path / "weights.safetensors"
    text = card.read_text()
    harm: dict[str, Callable[[], object]] = {
        "no card": card.unlink,
        "half a card": lambda: card.write_text(text[: len(text) // 2]),
        "other key": lambda: card.write_text(text.replace(KEY, "cd" * 20)),
        "file gone": weights.unlink,
        "file cut": lambda: weights.write_bytes(b"wei"),
        "not a card": lambda: card.write_text("[1, 2]"),
    }
    harm[damage]()
    assert store.get(KEY) is None and list(store.products()) == []
    assert put(store).file("weights.safetensors").read_bytes() == b"weights"
    assert left(store) == []


def test_a_changed_file_is_found_by_its_hash(store: Store) -> None:
    product = put(store)
    weights = product.file("weights.safetensors")
    weights.write_bytes(b"WEIGHTS")
    with pytest.raises(StoreError) as caught:
        product.check()
    assert f"{weights} was changed or damaged since it was written" in str(caught.value)


def test_a_removed_product_is_gone(store: Store) -> None:
    put(store)
    store.remove(KEY)
    store.remove("cd" * 20)
    assert store.get(KEY) is None and left(store) == []


def test_nothing_is_there_before_the_commit(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lock(KEY), store.scratch(KEY) as folder:
        (folder / "weights.safetensors").write_bytes(b"half")
        assert store.get(KEY) is None and list(store.products()) == []
        raise ZeroDivisionError
    assert store.get(KEY) is None and left(store) == []


def test_one_holder_at_a_time(store: Store) -> None:
    inside, most, done = 0, 0, []

    def work() -> None:
        nonlocal inside, most
        for _ in range(40):
            with store.lock(KEY) as held:
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1
                done.append(held)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and done == [True] * 160 and left(store) == []


HOLD = """
import sys, time
from assembler.assemble.store import Store
store = Store(sys.argv[1])
with store.lock(sys.argv[2]), store.scratch(sys.argv[2]) as folder:
    (folder / "weights.safetensors").write_bytes(b"half")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_live_maker_is_respected_and_a_killed_one_cleaned_up_after(store: Store) -> None:
    env = {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", HOLD, str(store.root), KEY]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with store.lock(KEY, wait=False) as held:
            assert not held
        store.clean()
        assert (store.tmp / KEY / "weights.safetensors").read_bytes() == b"half"
        holder.kill()
    assert len(left(store)) == 2 and store.get(KEY) is None
    store.clean()
    assert left(store) == []
    put(store)


def test_a_full_disk_leaves_nothing_readable_and_says_so(small_disk: Path) -> None:
    store = Store(small_disk)
    put(store)
    other = "cd" * 20
    with pytest.raises(StoreError) as caught, store.lock(other), store.scratch(other) as folder:
        with (folder / "weights.safetensors").open("wb", buffering=0) as stream, pytest.raises(OSError):
            while stream.write(bytes(4096)):
                pass
        store.commit(folder, other, {**CARD, "result": {}})
    assert str(caught.value) == (
        f"error: cannot write {store.parts / 'cd' / other}: No space left on device (0.0 MB free on that disk)\n"
        "    hint: free some space, or point ASSEMBLER_HOME at another disk"
    )
    assert store.get(other) is None and store.get(KEY) and left(store) == []
    put(store, other)


def test_an_unwritable_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the store should be")
    with pytest.raises(StoreError) as caught, Store(tmp_path / "home").lock(KEY):
        pass
    assert f"cannot write {tmp_path / 'home' / 'locks' / KEY}: Not a directory" in str(caught.value)


def test_the_card_is_plain_json_for_other_tools(store: Store) -> None:
    card = json.loads((put(store).path / "card.json").read_text())
    assert list(card) == ["key", *CARD, "result", "created", "versions", "files"]
