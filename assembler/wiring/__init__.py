"""From a recipe to a graph: the steps laid out by `assembler.recipe` become nodes, names become edges."""
