"""Several processes on one store: makers of the same things, one that is killed while it commits, and a clearing."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from assembler.assemble.store import Store

ROOT = Path(__file__).parents[2]
MAKE = """
import os, random, sys
from assembler.assemble.store import Store
store, name, first, last = Store(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
numbers = list(range(first, last))
random.Random(name).shuffle(numbers)
print("ready", flush=True)
for number in numbers:
    key = f"{number % 5:02d}{number:038d}"
    with store.lock(key):
        if store.get(key):
            continue
        with store.scratch(key) as folder:
            for part in range(3):
                (folder / f"{part}.bin").write_bytes(bytes([number % 256]) * 20_000)
            store.commit(folder, key, {"run": "a:b", "label": name, "result": {"number": number}})
            print(key, flush=True)
"""


def make(store: Store, name: str, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKE, str(store.root), name, str(first), str(last)]
    return subprocess.Popen(command, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)


def whole(store: Store) -> list[str]:
    """The keys of all products, each of which is as it was written."""
    found = list(store.products())
    for product in found:
        product.check()
        assert product.files == ("0.bin", "1.bin", "2.bin")
    return [product.key for product in found]


def nothing_left(store: Store) -> bool:
    store.clean()
    return not [f for folder in (store.tmp, store.locks) if folder.is_dir() for f in folder.iterdir()]


def test_two_processes_make_each_product_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    makers = [make(store, name, 0, 60) for name in ("one", "other")]
    said = [maker.communicate(timeout=60)[0].split()[1:] for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0]
    assert said[0] and said[1] and not set(said[0]) & set(said[1])
    assert sorted(said[0] + said[1]) == whole(store) and len(whole(store)) == 60
    by = {product.key: product.card["label"] for product in store.products()}
    assert all(by[key] == "one" for key in said[0]) and nothing_left(store)


def test_a_process_killed_while_it_commits_leaves_whole_products_or_none(tmp_path: Path) -> None:
    store, dice, told = Store(tmp_path / "home"), random.Random(9), set[str]()
    for number in range(8):
        with make(store, "killed", 1000 * number, 1000 * number + 100) as maker:
            assert maker.stdout and maker.stdout.readline() == "ready\n"
            time.sleep(dice.uniform(0.02, 0.2))
            maker.kill()
            told |= set(maker.stdout.read().split())
        found = set(whole(store))
        assert told <= found, "a product that was told of is gone"
    assert len(told) > 8 and nothing_left(store)
    with make(store, "after", 0, 20) as maker:
        maker.communicate(timeout=60)
    assert maker.returncode == 0 and set(whole(store)) >= {f"{n % 5:02d}{n:038d}" for n in range(20)}


def test_a_clearing_beside_a_maker_takes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    make(store, "before", 0, 40).communicate(timeout=60)
    old = whole(store)
    with make(store, "maker", 40, 100) as maker:
        assert maker.stdout and maker.stdout.readline() == "ready\n"
        for key in old:
            store.remove(key)
            store.clean()  # half-made products of the maker are its own
            assert store.get(key) is None
        made = maker.stdout.read().split()
    assert maker.returncode == 0 and len(made) == 60 and sorted(made) == whole(store) and nothing_left(store)
