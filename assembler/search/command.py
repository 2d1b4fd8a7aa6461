"""Commands to a search, checked against the space of its study and left where those who work on it look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assembler.errors import InputError, near
from assembler.search.shared import SPACE, StudyLog
from assembler.search.steering import BANS, STOP, TRIALS, allowed, banned, stop_sign


@dataclass(frozen=True)
class Command:
    """What to try next, by label and perhaps in part; what to refuse, and no longer; how many trials; to stop."""

    enqueue: tuple[Mapping[str, Any], ...] = ()
    ban: tuple[Mapping[str, str], ...] = ()
    allow: tuple[Mapping[str, str], ...] = ()
    trials: int | None = None
    stop: bool = False


def give(study: StudyLog, command: Command) -> list[str]:
    """Give a command; returns what was done, in words.

    Raises InputError for a decision or candidate that the space of the study does not have; then nothing was done.
    """
    facts = study.facts
    space = facts.get(SPACE, {})
    for words in (*command.enqueue, *command.ban):
        _check(space, words)
    bans = list(facts.get(BANS, []))
    for ban in command.allow:
        if dict(ban) not in bans:
            listed = "; ".join(_words(one) for one in bans) or "none"
            raise InputError(f"{_words(ban)} is not banned", hint=f"bans: {listed}")
    done = [f"trial {study.enqueue(words)} is to be {_words(words)}" for words in command.enqueue]
    for ban in command.ban:
        bans = banned(bans, ban)
        done.append(f"banned: {_words(ban)}")
    for ban in command.allow:
        bans = allowed(bans, ban)
        done.append(f"allowed again: {_words(ban)}")
    if command.ban or command.allow:
        study.write(BANS, bans)
    if command.trials is not None:
        study.write(TRIALS, command.trials)
        done.append(f"it goes on up to {command.trials:,} trials")
    if command.stop:
        study.write(STOP, stop_sign())
        done.append("nothing more is begun; the same search command goes on from there")
    return done


def _check(space: Mapping[str, Mapping[str, Any]], words: Mapping[str, Any]) -> None:
    for name, word in words.items():
        if space and name not in space:
            raise InputError(
                f"there is no decision '{name}'", hint=near(name, space) or f"decisions: {', '.join(space)}"
            )
        labels = space.get(name, {}).get("labels", [])
        wrong = [w for w in (word if isinstance(word, list) else [word]) if labels and str(w) not in labels]
        if wrong and space[name]["kind"] != "moves":
            hint = near(str(wrong[0]), labels) or f"candidates: {', '.join(labels)}"
            raise InputError(f"decision '{name}' cannot be {wrong[0]!r}", hint=hint)


def _words(choice: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={label}" for name, label in choice.items())
