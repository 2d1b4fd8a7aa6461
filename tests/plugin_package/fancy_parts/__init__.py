"""A package that offers ops to assembler. Importing it leaves a mark, so that a test can tell that nobody did."""

from pathlib import Path

Path("fancy_parts_was_imported").touch()
