"""The weights that models and parts of a run begin with: found, read, pinned."""
