"""Tables: choices to metrics that were measured beforehand, searched like training, at no cost."""

from assembler.search.tables.play import Line, Played, compare, play
from assembler.search.tables.table import Table, open_table, shipped

__all__ = ["Line", "Played", "Table", "compare", "open_table", "play", "shipped"]
