"""One model from several of the same graph, weight by weight; a method a file."""

from assembler.assemble.merging.merged import greedy, merged

__all__ = ["greedy", "merged"]
