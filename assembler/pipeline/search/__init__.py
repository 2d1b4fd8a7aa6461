"""Searches of recipes: candidates made, judged by training, a function or parts, and what becomes of the winner."""
