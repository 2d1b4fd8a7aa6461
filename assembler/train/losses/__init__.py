"""Losses: each compares a value with a target and returns a scalar tensor."""
