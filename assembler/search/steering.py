"""What can be said to a search while it runs, through the attributes of its study: whoever works on it looks there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from assembler.search.log import Orders

STOP, TRIALS, BANS = "assembler:stop", "assembler:trials", "assembler:bans"
WANTED = "assembler:wanted"
"""How many evaluations those who search were asked for."""


def orders(attributes: Mapping[str, Any], before: Mapping[str, Any]) -> Orders:
    """The orders in a study's attributes. Who began when they were as `before` need not obey the stop that is there."""
    stop = attributes.get(STOP, "") != before.get(STOP, "")
    return Orders(stop, tuple(attributes.get(BANS, ())), int(attributes.get(TRIALS, 0)))


def stop_sign() -> str:
    """A stop like no other, for those who are at work now and not for those who come later."""
    return uuid.uuid4().hex


def banned(bans: list[dict[str, str]], ban: Mapping[str, str]) -> list[dict[str, str]]:
    """The bans with one more."""
    return [*bans, *([] if dict(ban) in bans else [dict(ban)])]


def allowed(bans: list[dict[str, str]], ban: Mapping[str, str]) -> list[dict[str, str]]:
    """The bans without one."""
    return [one for one in bans if one != dict(ban)]
