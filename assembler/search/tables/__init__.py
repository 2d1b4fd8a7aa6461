"""Tables: choices to metrics that were measured beforehand, searched like training, at no cost."""

from assembler.search.tables.table import Table, open_table, shipped

__all__ = ["Table", "open_table", "shipped"]
