"""Products on their way from one store to another, packed as a tar archive in memory."""

from __future__ import annotations

import io
import tarfile

from assembler.assemble.product import read
from assembler.assemble.store import Store
from assembler.errors import StoreError


def packed(store: Store, key: str) -> bytes:
    """A product of a store as bytes. Raises StoreError where it is not there."""
    product = store.get(key)
    if product is None:
        raise StoreError(f"the product {key[:8]} has been removed from {store.root}")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(product.path, arcname=".")
    return buffer.getvalue()


def unpacked(store: Store, key: str, data: bytes) -> None:
    """Put a packed product into a store, unless it is there. Raises StoreError where it was damaged on its way."""
    with store.lock(key):
        if store.get(key):
            return
        with store.scratch(key) as folder:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(folder, filter="data")
            product = read(folder, key)
            if product is None:
                raise StoreError(f"the product {key[:8]} did not arrive whole")
            product.check()
            store.adopt(folder, key)
