"""One-shot search: all candidates of a space share one library of weights, which is trained once."""

from assembler.assemble.supernet.library import Library
from assembler.assemble.supernet.score import score_candidate
from assembler.assemble.supernet.training import Supernet, train_supernet

__all__ = ["Library", "Supernet", "score_candidate", "train_supernet"]
