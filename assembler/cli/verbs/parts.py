"""Look into the parts store, check it, clear it, carry it to another machine."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler import resources
from assembler.cli import say
from assembler.cli.guard import AnswerError
from assembler.errors import StoreError

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


def ls() -> dict[str, Any]:
    """List the finished products of the parts store, the newest last.

    \b
        assembler parts ls
    """
    store = _store()
    found = sorted(store.products(), key=lambda p: str(p.card.get("created", "")))
    _table(found)
    say.line(f"{len(found):,} products, {_size(sum(p.size for p in found))}, in {store.root}")
    return {"root": str(store.root), "products": [_data(p) for p in found]}


def show(key: Key) -> dict[str, Any]:
    """Show how a product was made, its result and files.

    \b
        assembler parts show 3fa9
    """
    product = _store().find(key)
    card = {"path": str(product.path), **product.card}
    say.line(json.dumps(card, indent=1, ensure_ascii=False))
    return card


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
    folders = sorted(store.parts.glob("??/*"))
    return {f.name: f"{f} is not whole" for f in folders if store.get(f.name) is None}


def _table(products: list[Product]) -> None:
    table = say.table("key", "phase", "what", "score", "made in", "size", "created", left=3)
    for p in products:
        score = next((f"{p.result[k]:.4f}" for k in ("test", "validation", "score") if k in p.result), "")
        created = str(p.card.get("created", ""))[:16].replace("T", " ")
        what = p.card.get("label") or str(p.card["run"]).partition(":")[2]
        say.row(table, p.key[:8], p.card.get("phase", ""), what, score, f"{p.seconds:.1f} s", _size(p.size), created)
    if products:
        say.show(table)


def _data(product: Product) -> dict[str, Any]:
    kept = {k: product.card.get(k, "") for k in ("run", "phase", "label", "created")}
    return {"key": product.key, **kept, "seconds": product.seconds, "bytes": product.size}


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
