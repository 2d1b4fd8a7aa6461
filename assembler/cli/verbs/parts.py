"""Look into the parts store, check it, clear it, carry it to another machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler import resources
from assembler.cli import say
from assembler.cli.guard import AnswerError
from assembler.errors import StoreError, near
from assembler.recipe.pause import no_collection
from assembler.report import part
from assembler.report.numbers import result

if TYPE_CHECKING:
    from assembler.assemble.product import Product
    from assembler.assemble.store import Store

VERBS = ("ls", "show", "verify", "gc", "export", "import")
Key = Annotated[str, typer.Argument(metavar="KEY", help="A key, or the beginning of one.")]
KeepDays = Annotated[float, typer.Option("--keep-days", min=0, metavar="N", help="Remove what is older than N days.")]
Keys = Annotated[list[str], typer.Argument(metavar="KEY...", help="Keys, or the beginnings of them.")]
Place = Annotated[Path, typer.Option("--out", metavar="PLACE", help="A new folder, or a .tar file.")]
Source = Annotated[Path, typer.Argument(metavar="PLACE", help="The folder of a parts store, or a .tar file.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do remove; without it the list alone is shown.")]
Slot = Annotated[str | None, typer.Option("--slot", metavar="SLOT", help="Parts of this slot; a * is any text.")]
Recipe = Annotated[str | None, typer.Option("--run", metavar="NAME", help="What this recipe had made.")]
Kind = Annotated[
    str | None, typer.Option("--kind", metavar="KIND", help="part, model, weights, or what made it: search, test, ...")
]


def ls(slot: Slot = None, run: Recipe = None, kind: Kind = None) -> dict[str, Any]:
    """List the finished products of the parts store, the newest last.

    \b
        assembler parts ls
        assembler parts ls --kind part --slot 'stage.*' --run quickstart
    """
    store = _store()
    asked = (("slot", slot, part.slot), ("run", run, part.recipe), ("kind", kind, part.kind))
    wanted = [(name, pattern, said) for name, pattern, said in asked if pattern is not None]
    with no_collection():  # all cards are held at once
        every = (p for p in store.products() if all(fnmatchcase(said(p.card), pattern) for _, pattern, said in wanted))
        found = sorted(every, key=lambda p: str(p.card.get("created", "")))
        _table(found)
    say.line(f"{len(found):,} products, {_size(sum(p.size for p in found))}, in {store.root}")
    known = [tuple(said(p.card) for _, _, said in wanted) for p in store.products()] if wanted and not found else []
    for (name, pattern, _), values in zip(wanted, zip(*known, strict=True), strict=False):
        there = sorted({*values} - {""})
        if there and not any(fnmatchcase(one, pattern) for one in there):
            hint = near(pattern, there) or f"there are {', '.join(there[:8])}"
            say.line(f"no product has the {name} '{pattern}': {hint}")
    return {"root": str(store.root), "products": [_data(p) for p in found]}


def show(key: Key) -> dict[str, Any]:
    """Show what a product is, what enters and leaves it, how it was made and what it is worth.

    With --json all of its card.

    \b
        assembler parts show 3fa9
    """
    product = _store().find(key)
    say.line(f"{product.key}  {part.label(product.card)}")
    for name, said in part.facts(product.card):
        if said:
            say.line(f"  {name:<12} {said}")
    for name, entry in product.card["files"].items():
        say.line(f"  {'file':<12} {product.path / name}  {_size(entry['size'])}")
    return {"path": str(product.path), **product.card}


def verify() -> dict[str, Any]:
    """Compare every file with its SHA-256.

    Exit code 1 if one is damaged.

    \b
        assembler parts verify
    """
    store = _store()
    damaged, whole = _broken(store), 0
    for product in store.products():
        try:
            product.check()
            whole += 1
        except StoreError as error:
            damaged[product.key] = error.problems[0].message
    for key, reason in damaged.items():
        say.line(f"damaged: {key}: {reason}")
    say.line(f"{whole:,} whole, {len(damaged):,} damaged")
    data = {"whole": whole, "damaged": [{"key": key, "reason": reason} for key, reason in damaged.items()]}
    if damaged:
        raise AnswerError(data)
    return data


def gc(keep_days: KeepDays, yes: Yes = False) -> dict[str, Any]:
    """Remove products that are older than N days. Without --yes it only shows what would go.

    A removed product is made again when a run needs it.

    \b
        assembler parts gc --keep-days 30
        assembler parts gc --keep-days 30 --yes
    """
    store = _store()
    limit = datetime.now(UTC) - timedelta(days=keep_days)
    found = [p for p in store.products() if datetime.fromisoformat(p.card["created"]) < limit]
    _table(found)
    if yes:
        for product in found:
            store.remove(product.key)
    said = f"{len(found):,} products, {_size(sum(p.size for p in found))}"
    say.line(f"removed {said}" if yes else f"would remove {said}; --yes does it")
    return {"removed": [p.key for p in found] if yes else [], "found": [p.key for p in found]}


def export(keys: Keys, out: Place) -> dict[str, Any]:
    """Write products, with all that they were made of, to a folder or a .tar file for another machine.

    \b
        assembler parts export 3fa9 77c0 --out parts.tar
    """
    from assembler.assemble.moving import give

    store = _store()
    found = give(store, [store.find(key) for key in keys], out)
    say.line(f"wrote {len(found):,} products, {_size(sum(p.size for p in found))}, to {out}")
    return {"out": str(out), "products": [p.key for p in found]}


def import_(place: Source) -> dict[str, Any]:
    """Take in the products of another parts store: its folder, or what `export` wrote.

    Every file is compared with its SHA-256. Take in what comes from people you trust: a product is used in place of the
    work that its key stands for. Exit code 1 if one is refused.

    \b
        assembler parts import parts.tar
    """
    from assembler.assemble.moving import take

    found = take(_store(), place)
    for key, reason in found.refused.items():
        say.line(f"refused: {key}: {reason}")
    say.line(f"{len(found.new):,} new, {len(found.there):,} there already, {len(found.refused):,} refused")
    data = {"new": found.new, "there": found.there, "refused": found.refused}
    if found.refused:
        raise AnswerError(data)
    return data


def _store() -> Store:
    from assembler.assemble.store import Store

    return Store(resources.store_home())


def _broken(store: Store) -> dict[str, str]:
    """Folders that are no whole product."""
    return {key: f"{store.parts / key[:2] / key} is not whole" for key in store.keys() if store.get(key) is None}


def _table(products: list[Product]) -> None:
    rows = [
        (
            p.key[:8],
            part.kind(p.card),
            part.recipe(p.card),
            part.label(p.card),
            next(map(result, part.scores(p.card).values()), ""),
            f"{p.seconds:.1f} s",
            _size(p.size),
            str(p.card.get("created", ""))[:16].replace("T", " "),
        )
        for p in products
    ]
    say.columns(("key", "kind", "run", "what", "score", "made in", "size", "created"), rows, left=4)


def _data(product: Product) -> dict[str, Any]:
    card = product.card
    kept = {k: card.get(k, "") for k in ("run", "phase", "label", "created")}
    told = {"kind": part.kind(card), "recipe": part.recipe(card), "slot": part.slot(card), "scores": part.scores(card)}
    return {"key": product.key, **kept, **told, "seconds": product.seconds, "bytes": product.size}


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
