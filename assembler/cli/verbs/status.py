"""`assembler status`: how a search stands, from any terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assembler.cli import say
from assembler.cli.options import Search, Study

if TYPE_CHECKING:
    from assembler.search.status import Status
    from assembler.search.trial import Trial

_SHOWN = 10


def status(where: Search, study: Study = None) -> dict[str, Any]:
    """Show how a search stands: trials by state, the best and the front, failures with reasons, rate and time left.

    \b
        assembler status journal:///study.log
        assembler status runs/my_space/latest --json
        assembler status postgresql://me@host/db --study my_space
    """
    from assembler.search.status import status as read
    from assembler.search.storage import load_study, storage_url

    found = read(load_study(storage_url(where), study))
    _tell(found)
    return _data(found)


def _tell(found: Status) -> None:
    from assembler.report.numbers import figure

    listed = ", ".join(f"{count:,} {state}" for state, count in sorted(found.states.items(), key=lambda s: -s[1]))
    wanted = f" of {found.wanted:,}" if found.wanted else ""
    say.line(f"{found.name}: {found.evaluated:,}{wanted} evaluated ({listed or 'no trials'})")
    who = ", ".join(found.workers)
    pace = f"{found.rate:.2f} a second" if found.rate >= 1 else f"{60 * found.rate:.1f} a minute"
    left = f", {found.left / 60:.0f} min left" if found.left and found.workers else ""
    say.line(f"at work: {who or 'nobody'}; {pace}{left}")
    shown = found.front if len(found.directions) > 1 else _ranked(found)
    heads = [f"{goal} {name}" for goal, name in zip(found.directions, found.objectives, strict=True)]
    table = say.table("trial", "choice", *heads, left=2)
    for trial in shown[:_SHOWN]:
        choice = " ".join(f"{name}={label}" for name, label in trial.labels.items())
        say.row(table, trial.number, choice, *map(figure, found.objectives, trial.values or ()))
    if shown:
        say.show(table)
    for reason, times in list(found.failures.items())[:_SHOWN]:
        say.line(f"failed: {reason}" + (f" ({times} times)" if times > 1 else ""))
    for ban in found.bans:
        say.line("banned: " + ", ".join(f"{name}={label}" for name, label in ban.items()))


def _ranked(found: Status) -> list[Trial]:
    sign = -1.0 if found.directions[0] == "maximize" else 1.0
    done = [t for t in found.trials if t.state == "complete"]
    return sorted(done, key=lambda t: (sign * (t.value or 0.0), t.number))


def _data(found: Status) -> dict[str, Any]:
    return {
        "study": found.name,
        "evaluated": found.evaluated,
        "wanted": found.wanted,
        "states": found.states,
        "best": _trial(found.best) if found.best else None,
        "front": [_trial(trial) for trial in found.front],
        "failures": found.failures,
        "rate": found.rate,
        "left": found.left,
        "workers": list(found.workers),
        "bans": list(found.bans),
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {"number": trial.number, "choice": trial.labels, "values": list(trial.values or ()), **trial.costs}
