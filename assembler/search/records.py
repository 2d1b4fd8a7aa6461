"""A trial as Optuna keeps it: parameters by label for people and dashboards, the rest in its attributes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from assembler.errors import near
from assembler.recipe.choices import Choice, Decision, Pick, Space
from assembler.search.moves import complete
from assembler.search.trial import Inherited, State, Trial

STATES = {"running": "RUNNING", "complete": "COMPLETE", "pruned": "PRUNED", "infeasible": "PRUNED", "failed": "FAIL"}
_PLAIN: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
TRIAL = "trial"
"""The one attribute that tells all of a trial as it begins: to a database every attribute is a question of its own."""
FIXED = "fixed_params"
"""The attribute in which Optuna keeps what an enqueued trial is to be."""

_DRAWS = 256


def state_of(trial: Trial) -> str:
    """Optuna's name for the state of a trial; a duplicate has the state of what it equals."""
    return STATES.get(trial.state) or ("COMPLETE" if trial.values else "FAIL")


def attributes(space: Space, trial: Trial) -> dict[str, Any]:
    """What is known of a trial as it begins."""
    found = {
        "choice": json.dumps(worded(space, trial.choice)),
        "key": trial.key,
        "costs": trial.costs,
        "estimate": trial.estimate,
    }
    from_ = {"parent": trial.parent, "origin": trial.origin or None, "best": trial.best_known}
    return found | {name: said for name, said in from_.items() if said is not None}


def known(frozen: Any) -> dict[str, Any]:
    """The `attributes` of a trial, with who is at it; nothing where Optuna alone has made it."""
    return dict(frozen.user_attrs.get(TRIAL, {}))


def ending(trial: Trial) -> dict[str, Any]:
    """What is known of a trial as it ends."""
    said = {"state": trial.state, "reason": trial.reason, "repeat": trial.repeat, "again": trial.again}
    said |= {"curve": trial.curve} if trial.curve else {}
    return said | ({"inherited": trial.inherited} if trial.inherited else {})


def trial_of(frozen: Any, space: Space | None = None) -> Trial:
    """The trial that was recorded. One that has no place in the `space` has no choice, but its labels."""
    kept = known(frozen)
    words = json.loads(kept["choice"]) if "choice" in kept else frozen.params
    choice = picked(space, words)[0] if space else None
    end = _end(frozen.user_attrs, frozen.state.name)
    return Trial(
        frozen.number,
        choice or {},
        tuple(frozen.values) if frozen.values else None,
        end.get("state", _PLAIN.get(frozen.state.name, "running")),
        dict(kept.get("costs", {})),
        kept.get("estimate"),
        end.get("reason", ""),
        kept.get("key", ""),
        space.named(choice) if space and choice else {name: _said(word) for name, word in words.items()},
        end.get("repeat", 0),
        end.get("again", False),
        "" if choice else kept.get("recipe", ""),
        kept.get("parent"),
        tuple((int(step), tuple(values)) for step, values in end.get("curve", ())),
        kept.get("origin", ""),
        kept.get("best"),
        Inherited(*end["inherited"]) if "inherited" in end else None,
    )


def _end(kept: Mapping[str, Any], state: str) -> dict[str, Any]:
    """What was written as the trial ended: by whoever had begun it, or by one who took that one for dead."""
    for end in (kept.get("end"), kept.get("lost")):
        if end and (STATES.get(end["state"]) or state) == state:
            return dict(end)
    return {}


def parameters(
    space: Space, choice: Mapping[str, Pick], taken: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A choice as Optuna's (parameters, distributions), by label; several picks are `name[0]`, `name[1]`, ...

    Optuna wants all trials of a study to have the same candidates for a parameter. Where those have changed since the
    ones in `taken`, the parameter gets a new name: `mix (2)`.
    """
    params: dict[str, Any] = {}
    distributions: dict[str, Any] = {}
    for d in space.decisions:
        if d.name not in choice or d.kind == "moves":  # Optuna has no such parameter
            continue
        word, kind = _word(d, choice[d.name]), _distribution(d)
        several = isinstance(word, list)
        for i, one in enumerate(word if several else [word]):
            name = _free(f"{d.name}[{i}]" if several else d.name, kind, {**taken, **distributions})
            params[name], distributions[name] = one, kind
    return params, distributions


def worded(space: Space, choice: Mapping[str, Pick]) -> dict[str, Any]:
    """The choice with candidates by label; numbers as they are."""
    by_name = {d.name: d for d in space.decisions}
    return {name: _word(by_name[name], pick) for name, pick in choice.items()}


def picked(space: Space, words: Mapping[str, Any]) -> tuple[Choice | None, str]:
    """The choice that was written down, in the space as it is now; None, and why, where it has no place there."""
    choice, problem = _picks(space, words)
    if problem:
        return None, problem
    wanted = {d.name: d for d in space.active(choice)}
    if missing := [name for name, d in wanted.items() if name not in choice and d.kind != "moves"]:
        return None, f"decision '{missing[0]}' is not made"
    closed = next((name for name in choice if name not in wanted), None)
    return (None, f"decision '{closed}' is not open") if closed else (choice, "")


def filled(
    space: Space, words: Mapping[str, Any], complete: Callable[[Mapping[str, Pick]], Choice]
) -> tuple[Choice | None, str]:
    """A choice of which perhaps only a part is given, by label; `complete` makes the rest. None, and why, if it cannot.

    What is given inside a candidate says that the candidate is meant.
    """
    picks, problem = _picks(space, _joined(space, words))
    if problem:
        return None, problem
    by_name = {d.name: d for d in space.decisions}
    for name in list(picks):
        for outer, condition in by_name[name].when:
            picks.setdefault(outer, by_name[outer].holding(condition))
    choice = complete(picks)
    closed = next((name for name in picks if choice.get(name) != picks[name]), None)
    return (None, f"decision '{closed}' is not open under the others") if closed else (choice, "")


def drawn(space: Space, words: Mapping[str, Any], rng: random.Random) -> tuple[Choice | None, str, str]:
    """As `filled`, what is left open being drawn until constraints on decisions are kept.

    And what is broken by the last of 256 draws, where all break one.
    """
    refusal = ""
    for _ in range(_DRAWS):
        choice, problem = filled(space, words, lambda picks: complete(space, picks, rng))
        if choice is None or not (refusal := space.refusal(choice)):
            return choice, problem, ""
    return choice, "", refusal


def _picks(space: Space, words: Mapping[str, Any]) -> tuple[Choice, str]:
    """Picks for what is written, and what is wrong with it."""
    by_name = {d.name: d for d in space.decisions}
    choice: Choice = {}
    for name, word in words.items():
        if name not in by_name:
            return {}, f"there is no decision '{name}'" + _hint(near(name, by_name))
        d = by_name[name]
        with suppress(ValueError, TypeError):
            choice[name] = _pick(d, word)
        if name not in choice or not d.accepts(choice[name]):
            return {}, f"decision '{name}' cannot be {word!r}" + _hint(near(str(word), d.labels) or _range(d))
    return choice, ""


def _joined(space: Space, words: Mapping[str, Any]) -> dict[str, Any]:
    """Several picks in a list, which Optuna writes one by one as `name[0]`, `name[1]`, ..."""
    several = {f"{d.name}[{i}]": d.name for d in space.decisions for i in range(d.positions)}
    found: dict[str, Any] = {}
    for name, word in words.items():
        if name in several:
            found.setdefault(several[name], []).append(word)
        else:
            found[name] = word
    return found


def _range(d: Decision) -> str:
    return f"candidates: {', '.join(d.labels)}" if d.labels else f"{d.low:g} to {d.high:g}"


def _hint(text: str) -> str:
    return f" ({text})" if text else ""


def _said(word: Any) -> str:
    return "+".join(map(str, word)) if isinstance(word, list) else str(word)


def _word(d: Decision, pick: Pick) -> Any:
    if isinstance(pick, tuple):
        return list(pick) if d.kind == "moves" else [d.labels[i] for i in pick]
    return d.labels[int(pick)] if d.kind == "oneof" else pick


def _pick(d: Decision, word: Any) -> Pick:
    if d.kind in ("int", "float"):
        return int(word) if d.kind == "int" else float(word)
    if d.kind == "moves":
        return tuple(word)
    if not isinstance(word, list):
        return d.labels.index(str(word))
    picks = [d.labels.index(str(one)) for one in word]
    return tuple(sorted(picks) if d.sorted else picks)


def _distribution(d: Decision) -> Any:
    from optuna import distributions

    if d.kind == "float":
        return distributions.FloatDistribution(d.low or 0.0, d.high or 0.0, log=d.log)
    if d.kind == "int":
        return distributions.IntDistribution(int(d.low or 0), int(d.high or 0), log=d.log)
    return distributions.CategoricalDistribution(d.labels)


def _free(name: str, kind: Any, taken: Mapping[str, Any]) -> str:
    """The name under which a distribution may be written."""
    from optuna.distributions import check_distribution_compatibility

    count, free = 1, name
    while free in taken:
        try:
            check_distribution_compatibility(taken[free], kind)
            return free
        except ValueError:
            count += 1
            free = f"{name} ({count})"
    return free
