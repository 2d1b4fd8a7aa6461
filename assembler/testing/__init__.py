"""Base test classes for plug-ins: subclass one in a pytest file, fill in its attributes, and inherit the tests."""

from assembler.testing.dataset import DatasetContract
from assembler.testing.op import OpContract
from assembler.testing.rewrite import RewriteContract
from assembler.testing.sampler import SamplerContract

__all__ = ["DatasetContract", "OpContract", "RewriteContract", "SamplerContract"]
