"""Weights of a model for another that edits made of it: copied, resized, or begun so that the function stays near."""

from assembler.assemble.inherit.account import Account
from assembler.assemble.inherit.inherited import inherited
from assembler.assemble.inherit.matching import matched
from assembler.assemble.inherit.stacked import stacked

__all__ = ["Account", "inherited", "matched", "stacked"]
