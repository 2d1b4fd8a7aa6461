"""The machine's form of a model: frozen graphs, their edits, checks, digests and texts."""

from assembler.graph.core import Arg, Graph, Node, TensorType
from assembler.graph.diff import Diff, diff
from assembler.graph.edit import (
    Slot,
    cut,
    extract,
    graft,
    inner_id,
    insert_after,
    outer_id,
    prune,
    remove,
    replace_step,
    step,
    with_outputs,
)
from assembler.graph.fingerprint import fingerprint
from assembler.graph.text import from_text, to_text
from assembler.graph.verify import step_faults, verify
from assembler.graph.view import to_networkx

__all__ = [
    "Arg",
    "Diff",
    "Graph",
    "Node",
    "Slot",
    "TensorType",
    "cut",
    "diff",
    "extract",
    "fingerprint",
    "from_text",
    "graft",
    "inner_id",
    "insert_after",
    "outer_id",
    "prune",
    "remove",
    "replace_step",
    "step",
    "step_faults",
    "to_networkx",
    "to_text",
    "verify",
    "with_outputs",
]
