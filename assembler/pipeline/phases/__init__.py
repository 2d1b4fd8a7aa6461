"""The phases of a run, one a file: each is a function of the run so far, its options its keyword arguments."""
