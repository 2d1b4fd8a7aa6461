"""Small spaces of every kind, and objectives on them whose optimum is known."""

from __future__ import annotations

import math

from assembler.recipe.choices import Choice, Decision, Space


def slots(count: int, variants: int) -> Space:
    """Independent slots `stage.0`, `stage.1`, ... of variants "v0", "v1", ..."""
    labels = tuple(f"v{i}" for i in range(variants))
    return Space(tuple(Decision(f"stage.{i}", "oneof", labels) for i in range(count)))


FLAT = slots(4, 3)
NESTED = Space(
    (
        Decision("mix", "oneof", ("pool", "attention", "conv")),
        Decision("mix[attention].heads", "oneof", ("1", "2", "4"), when=(("mix", 1),)),
        Decision(
            "mix[attention].heads[4].bias", "oneof", ("no", "yes"), when=(("mix", 1), ("mix[attention].heads", 2))
        ),
        Decision("mix[conv].kernel", "int", low=3, high=6, when=(("mix", 2),)),
        Decision("mlp", "oneof", ("2", "4")),
    )
)
NUMBERS = Space(
    (
        Decision("depth", "int", low=1, high=8),
        Decision("width", "int", low=8, high=512, log=True),
        Decision("rate", "float", low=1e-4, high=1e-1, log=True),
        Decision("drop", "float", low=0.0, high=0.5),
    )
)
MANY = Space(
    (
        Decision("taps", "manyof", ("a", "b", "c", "d"), k=2, sorted=True),
        Decision("order", "permutate", ("norm", "mix", "mlp")),
        Decision("heads", "manyof", ("x", "y"), k=3, distinct=False),
    )
)
SPACES = {"flat": FLAT, "nested": NESTED, "numbers": NUMBERS, "many": MANY}


def flat(choice: Choice) -> float:
    """1 at every slot's last variant, 0 at every slot's first."""
    return sum(int(v) for v in choice.values() if not isinstance(v, tuple)) / (2 * len(choice))


def nested(choice: Choice) -> float:
    """1 only deep inside a branch."""
    score = {0: 0.2, 1: 0.4, 2: 0.3}[int(str(choice["mix"]))]
    deep = choice.get("mix[attention].heads") == 2
    return score + 0.2 * deep + 0.3 * (choice.get("mix[attention].heads[4].bias") == 1) + 0.1 * (choice["mlp"] == 1)


def numbers(choice: Choice) -> float:
    """1 at depth 6, width 64, rate 1e-2, no dropout."""
    depth, width, rate, drop = (float(str(choice[n])) for n in ("depth", "width", "rate", "drop"))
    off = abs(depth - 6) / 7, abs(math.log(width / 64)) / 4, abs(math.log10(rate) + 2) / 2, drop * 2
    return 1 - sum(off) / 4


def many(choice: Choice) -> float:
    """1 for taps c and d, the order mlp, mix, norm and heads all y."""
    hits = (choice["taps"] == (2, 3)) + (choice["order"] == (2, 1, 0))
    heads = choice["heads"]
    assert isinstance(heads, tuple)
    return (hits + sum(heads) / 3) / 3


OBJECTIVES = {"flat": flat, "nested": nested, "numbers": numbers, "many": many}
