"""What numbers losses take."""

from __future__ import annotations


def positive(name: str, value: float) -> None:
    """Raise ValueError for a number that is not above 0."""
    if not value > 0:
        raise ValueError(f"{name} is {value:g}, but it needs to be more than 0")
