"""Rewrites: edits of a graph that know what they keep, one a file. Their fields are their options.

A rewrite's module imports torch only where weights are computed, so that a recipe's rewrites can be checked without it.
"""
