"""Products carried from one store to another: whole, once, and none that is damaged or reaches outside."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assembler.assemble.moving import give, take
from assembler.assemble.store import Store
from assembler.assemble.task import canonical, key_of
from assembler.cli.app import app
from assembler.errors import InputError


def made(store: Store, key: str, needs: dict[str, str] | None = None, text: str = "weights") -> str:
    inputs, needs = {"name": key}, needs or {}
    key = key_of("a:b", canonical(inputs), "", needs)
    with store.lock(key), store.scratch(key) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "w.bin").write_text(text)
        card = {"run": "a:b", "inputs": inputs, "code": "", "needs": needs, "result": {"score": 1.0}}
        store.commit(folder, key, card)
    return key


def place(store: Store, key: str) -> Path:
    """The folder of a product."""
    return store.parts / key[:2] / key


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    return Store(tmp_path / "one"), Store(tmp_path / "other")


@pytest.mark.parametrize("name", ["out", "out.tar"])
def test_a_product_goes_with_what_it_was_made_of(stores: tuple[Store, Store], tmp_path: Path, name: str) -> None:
    here, there = stores
    base = made(here, "a")
    part = made(here, "b", {"host": base})
    made(here, "c")
    given = give(here, [here.find(part)], tmp_path / name)
    assert [p.key for p in given] == [part, base]
    found = take(there, tmp_path / name)
    assert sorted(found.new) == sorted([base, part]) and not found.refused
    assert there.find(part).file("inner/w.bin").read_text() == "weights"
    assert there.find(part).card == here.find(part).card
    again = take(there, tmp_path / name)
    assert (again.new, sorted(again.there)) == ([], sorted([base, part]))


def test_stores_of_two_machines_become_one(stores: tuple[Store, Store]) -> None:
    here, there = stores
    both, own, theirs = made(here, "a"), made(here, "b"), made(there, "c")
    made(there, "a")
    found = take(here, there.root)
    assert (found.new, found.there) == ([theirs], [both])
    assert [p.key for p in here.products()] == sorted([both, own, theirs])


def test_what_is_damaged_is_refused_and_the_rest_goes_on(stores: tuple[Store, Store]) -> None:
    here, there = stores
    bad, cut, good = made(there, "a"), made(there, "b"), made(there, "c")
    (place(there, bad) / "inner" / "w.bin").write_text("weightz")
    (place(there, cut) / "inner" / "w.bin").write_text("w")
    found = take(here, there.root)
    assert found.new == [good] and found.refused[cut] == "it is not whole"
    assert found.refused[bad].endswith("w.bin was changed or damaged since it was written")
    assert [p.key for p in here.products()] == [good]


def test_a_part_that_tells_of_another_host_than_its_own_is_refused(stores: tuple[Store, Store]) -> None:
    here, there = stores
    host, other = made(there, "host"), made(there, "other")
    part = made(there, "part", {"host": host})
    card = place(there, part) / "card.json"
    card.write_text(card.read_text().replace(host, other))
    instead = key_of("a:b", canonical({"name": "part"}), "", {"host": other})
    assert take(here, there.root).refused == {
        part: f"its card tells of another product: what it says of its host and inputs has the key {instead}"
    }
    assert here.get(part) is None and here.get(host)


def test_nothing_is_written_outside_of_the_store(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, there = stores
    key = made(there, "a")
    card = place(there, key) / "card.json"
    said = json.loads(card.read_text())
    (place(there, key).parent / "evil").write_text("weights")
    said["files"] = {"../evil": said["files"]["inner/w.bin"]}
    card.write_text(json.dumps(said))
    link = made(there, "b")
    (place(there, link) / "inner" / "w.bin").unlink()
    (place(there, link) / "inner" / "w.bin").symlink_to("/etc/hostname")
    assert take(here, there.root).refused == {
        key: "its file '../evil' lies outside of it",
        link: "it holds links, and a product is made of files",
        "evil": "it is not whole",
    }
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(card, arcname="../../evil")
    with pytest.raises(InputError, match="cannot be unpacked"):
        take(here, tmp_path / "evil.tar")
    assert not list(here.products()) and not (tmp_path / "evil").exists()


def test_on_the_command_line(stores: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = stores
    key = made(here, "a")
    for store, words, said in (
        (here, ["export", key[:4], "--out", str(tmp_path / "p.tar")], "wrote 1 products, 7 B"),
        (there, ["import", str(tmp_path / "p.tar")], "1 new, 0 there already, 0 refused"),
    ):
        monkeypatch.setenv("ASSEMBLER_HOME", str(store.root))
        found = CliRunner().invoke(app, ["parts", *words])
        assert found.exit_code == 0 and said in found.stdout, found.output
    (place(there, key) / "inner" / "w.bin").write_text("broken!")
    made(here, "b")
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "third"))
    refused = CliRunner().invoke(app, ["parts", "import", str(there.root)])
    assert refused.exit_code == 1 and f"refused: {key}: " in refused.stdout


def test_other_places_are_told(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, _ = stores
    key = made(here, "a")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"full is no parts store(.|\n)*a new folder, an empty one, or a .tar file"):
        give(here, [here.find(key)], tmp_path / "full")
    with pytest.raises(InputError, match=r"full holds no products"):
        take(here, tmp_path / "full")
    with pytest.raises(InputError, match=r"there is no parts store at .*nowhere"):
        take(here, tmp_path / "nowhere")
