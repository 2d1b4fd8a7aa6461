"""Layers that let a part stand in a host of another width: laid around the part, then fitted by least squares."""

from assembler.assemble.stitches.fitted import fitted_in, fitted_out
from assembler.assemble.stitches.layers import NONE, Stitches, renamed, stitched

__all__ = ["NONE", "Stitches", "fitted_in", "fitted_out", "renamed", "stitched"]
