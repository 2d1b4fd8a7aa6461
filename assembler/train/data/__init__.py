"""Data sets by name: `load` gives train and validation, `load_test` the test split that only a final table reads."""

from assembler.train.augment import Augment
from assembler.train.data.batches import Batches
from assembler.train.data.core import Data, Split, fingerprint, load, load_test
from assembler.train.data.source import Arrays, Source

__all__ = ["Arrays", "Augment", "Batches", "Data", "Source", "Split", "fingerprint", "load", "load_test"]
