"""Models of others brought in: any module that torch can trace, as a graph with its weights."""

from assembler.importing.imported import Imported, from_module

__all__ = ["Imported", "from_module"]
