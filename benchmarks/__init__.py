"""Figures of the README, each measured with its peer in the same run, interleaved; `make bench` runs all of them."""
