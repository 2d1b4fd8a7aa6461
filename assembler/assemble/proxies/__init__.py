"""Scores of models that are not trained, told from one batch or none: zero-cost proxies, one a file. More is better."""

from assembler.assemble.proxies.untrained import Untrained, score

__all__ = ["Untrained", "score"]
