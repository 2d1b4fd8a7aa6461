"""A graph as one readable Python file that needs torch alone and computes what `lower` computes, bit for bit.

Copies of a block become instances of one class and are called in a loop; a `loop` step becomes a `for`.
"""

from __future__ import annotations

from assembler.compile.source.file import to_source

__all__ = ["to_source"]
