"""Products on their way between stores: those chosen, with all that they were made of, in a folder or a .tar file.

What leaves is a store itself, so that the store of another machine can be taken in as it stands.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from assembler.assemble.product import Product
from assembler.assemble.store import Store
from assembler.assemble.task import canonical, key_of
from assembler.compile.files import whole
from assembler.errors import InputError, StoreError

TAR = ".tar"


@dataclass
class Taken:
    """What came of taking products in, by key: new ones, those that were there, and why others were refused."""

    new: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def give(store: Store, chosen: Iterable[Product], place: Path) -> list[Product]:
    """Write products and all that they were made of, as far as that is in the store, to a folder or a .tar file.

    Raises InputError where the folder holds something else than a store, or cannot be written.
    """
    keys = dict.fromkeys(key for product in chosen for _, _, key in store.ancestry(product))
    found = [product for key in keys if (product := store.get(key))]
    if place.suffix == TAR:
        with whole(place) as temporary, tarfile.open(temporary, "w") as archive:
            for product in found:
                archive.add(product.path, arcname=f"parts/{product.key[:2]}/{product.key}")
        return found
    if place.exists() and not (place.is_dir() and ((place / "parts").is_dir() or not any(place.iterdir()))):
        raise InputError(f"{place} is no parts store", hint="name a new folder, an empty one, or a .tar file")
    _copy(found, Store(place))
    return found


def take(store: Store, place: Path) -> Taken:
    """Take in every product of a store's folder or of a .tar file; each is compared with its card before.

    Products are known by all that they depend on, so one of a key that is there already is the same. What is damaged,
    and what does not say of itself (host, inputs, code) what its key stands for, is refused; the rest goes on. Raises
    InputError where the place holds no products.
    """
    with _opened(place) as folder:
        other, taken = Store(folder), Taken()
        for product in _products(other, taken):
            if store.get(product.key):
                taken.there.append(product.key)
                continue
            try:
                product.check()
            except StoreError as error:
                taken.refused[product.key] = error.problems[0].message
                continue
            _copy([product], store)
            taken.new.append(product.key)
    if not (taken.new or taken.there or taken.refused):
        raise InputError(f"{place} holds no products", hint="name the folder of a parts store, or what `export` wrote")
    return taken


def _products(other: Store, taken: Taken) -> Iterator[Product]:
    for folder in sorted(other.parts.glob("??/*")):
        if any(file.is_symlink() for file in (folder, *folder.rglob("*"))):
            taken.refused[folder.name] = "it holds links, and a product is made of files"
        elif product := other.get(folder.name):
            if strange := [name for name in product.files if Path(name).is_absolute() or ".." in Path(name).parts]:
                taken.refused[folder.name] = f"its file '{strange[0]}' lies outside of it"
            elif (own := _key(product)) != product.key:
                said = f"its card tells of another product: what it says of its host and inputs has the key {own}"
                taken.refused[folder.name] = said
            else:
                yield product
        else:
            taken.refused[folder.name] = "it is not whole"


def _key(product: Product) -> str:
    """The key that what the card says stands for: run, inputs, code and the keys of what was needed."""
    card = product.card
    return key_of(card["run"], canonical(card.get("inputs", {})), card.get("code", ""), card.get("needs", {}))


def _copy(products: Iterable[Product], store: Store) -> None:
    for product in products:
        with store.lock(product.key), store.scratch(product.key) as folder:
            if store.get(product.key):
                continue
            for name in (*product.files, "card.json"):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copyfile(product.path / name, target)
                except OSError as error:
                    raise store.failure(error, target) from error
            store.adopt(folder, product.key)


@contextmanager
def _opened(place: Path) -> Iterator[Path]:
    """The folder of a store, of a .tar file unpacked for as long as the block goes on."""
    if place.is_dir():
        yield place
        return
    if not place.is_file() or place.suffix != TAR:
        raise InputError(f"there is no parts store at {place}", hint="a folder, or a .tar file that `export` wrote")
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(place) as archive:
                archive.extractall(folder, filter="data")  # no links outwards, no absolute paths, no devices
        except (tarfile.TarError, OSError) as error:
            raise InputError(f"{place} cannot be unpacked: {error}") from error
        yield Path(folder)
