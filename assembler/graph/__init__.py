"""The machine's form of a model: frozen graphs, their edits, checks, digests and texts."""

from assembler.graph.core import Arg, Graph, Node, TensorType

__all__ = ["Arg", "Graph", "Node", "TensorType"]
