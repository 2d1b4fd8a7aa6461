"""Trials of any sampler in an Optuna study: for dashboards, for other processes, and to go on after an interruption.

URLs: `journal:///study.log` (a file; four slashes for an absolute path), `sqlite:///study.db`, `postgresql://...`,
`mysql+pymysql://...`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Decision, Pick, Space
from assembler.search.pareto import Direction
from assembler.search.samplers.optuna_sampler import recorded
from assembler.search.study import Trial

_FORMS = "journal:///study.log, sqlite:///study.db, postgresql://user@host/db or mysql+pymysql://user@host/db"
_STATES = {"complete": "COMPLETE", "duplicate": "COMPLETE", "infeasible": "PRUNED", "failed": "FAIL"}


class StudyLog:
    """A named Optuna study that trials are added to and read back from."""

    def __init__(self, study: Any, url: str) -> None:
        self._study = study
        self._url = url

    def add(self, space: Space, trial: Trial) -> None:
        """Record a trial. Raises InputError where the study holds trials of a space with other candidates."""
        import optuna

        params, distributions = recorded(space, trial.choice)
        state = _STATES[trial.state] if trial.values or trial.state != "duplicate" else "FAIL"
        attributes = {
            "choice": json.dumps(trial.choice),
            "labels": json.dumps(_labels(space, trial.choice)),
            "state": trial.state,
            "reason": trial.reason,
            "key": trial.key,
            "costs": trial.costs,
            "estimate": trial.estimate,
        }
        try:
            made = optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                values=trial.values,
                params=params,
                distributions=distributions,
                user_attrs=attributes,
            )
            self._study.add_trial(made)
        except ValueError as error:
            what = f"study '{self._study.study_name}' in {self._url} was made for another space: {error}"
            raise InputError(what, hint="give the study another name") from None

    def history(self, space: Space) -> list[Trial]:
        """The recorded trials, renumbered from 0; those whose choice the space no longer has are left out.

        Candidates are told by their labels, so that they may have moved in the space since.
        """
        found: list[Trial] = []
        for frozen in self._study.get_trials(deepcopy=False):
            attributes = frozen.user_attrs
            choice = _choice(space, attributes) if "labels" in attributes else None
            if choice is None:
                continue
            found.append(
                Trial(
                    len(found),
                    choice,
                    tuple(frozen.values) if frozen.values else None,
                    attributes["state"],
                    dict(attributes["costs"]),
                    attributes["estimate"],
                    attributes["reason"],
                    attributes["key"],
                    space.named(choice),
                )
            )
        return found


def open_study(url: str, name: str, directions: Sequence[Direction] = ("maximize",), workers: int = 1) -> StudyLog:
    """The study of that name in a storage, made if it is not there.

    Raises InputError for a URL that is not understood or cannot be opened, for SQLite with more than one worker, and
    for a study of other directions.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=_storage(url, workers), study_name=name, directions=list(directions), load_if_exists=True
    )
    there = tuple(d.name.lower() for d in study.directions)
    if there != tuple(directions):
        raise InputError(
            f"study '{name}' in {url} is there to {' and '.join(there)}, not to {' and '.join(directions)}",
            hint="give the study another name",
        )
    return StudyLog(study, url)


def _storage(url: str, workers: int) -> Any:
    import optuna

    scheme, separator, rest = url.partition("://")
    path = Path(rest.removeprefix("/")).expanduser()
    if scheme == "journal" and rest.startswith("/") and path.name:
        return optuna.storages.JournalStorage(_journal(path))
    if scheme == "sqlite" and workers > 1:
        instead = f"journal:///{path.with_suffix('.log')}" if path.name else "journal:///study.log"
        raise InputError(f"SQLite is for one worker, not for {workers}: {url}", hint=f"use {instead}")
    if not separator or scheme.split("+")[0] not in ("sqlite", "postgresql", "mysql"):
        raise InputError(f"'{url}' is no storage URL", hint=f"use {_FORMS}")
    if scheme == "sqlite" and path.name:
        _folder(path)
    try:
        return optuna.storages.RDBStorage(url)
    except ImportError as error:
        raise InputError(f"{url} needs a database driver: {error}", hint="install it, or use journal:///") from None
    except Exception as error:
        raise InputError(f"cannot open {url}: {str(error).splitlines()[0]}", hint=f"use {_FORMS}") from None


def _journal(path: Path) -> Any:
    """The journal in a file, cut after its last whole line: a killed writer leaves half a line, which stops readers."""
    from optuna.storages import journal

    _folder(path)
    try:
        backend = journal.JournalFileBackend(str(path))
        lock = journal.JournalFileSymlinkLock(str(path))
        lock.acquire()
        try:
            with path.open("rb+") as file:
                whole = file.read().rfind(b"\n") + 1
                file.truncate(whole)
        finally:
            lock.release()
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    return backend


def _folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path.parent}: {error.strerror}") from None


def _labels(space: Space, choice: Choice) -> dict[str, Any]:
    """The choice with candidates by label; numbers as they are."""
    by_name = {d.name: d for d in space.decisions}
    return {name: _label(by_name[name], pick) for name, pick in choice.items()}


def _label(d: Decision, pick: Pick) -> Any:
    if isinstance(pick, tuple):
        return list(pick) if d.kind == "moves" else [d.labels[i] for i in pick]
    return d.labels[int(pick)] if d.kind == "oneof" else pick


def _choice(space: Space, attributes: Mapping[str, Any]) -> Choice | None:
    """The recorded choice in the space as it is now, or None where it has no place there."""
    by_name = {d.name: d for d in space.decisions}
    choice: Choice = {}
    for name, label in json.loads(attributes["labels"]).items():
        d = by_name.get(name)
        if d is None:
            return None
        try:
            choice[name] = _pick(d, label)
        except ValueError:
            return None
    fits = {d.name for d in space.active(choice)} == set(choice)
    return choice if fits and all(by_name[n].accepts(p) for n, p in choice.items()) else None


def _pick(d: Decision, label: Any) -> Pick:
    if d.kind in ("int", "float"):
        return int(label) if d.kind == "int" else float(label)
    if d.kind == "moves":
        return tuple(label)
    if not isinstance(label, list):
        return d.labels.index(label)
    picks = [d.labels.index(one) for one in label]
    return tuple(sorted(picks) if d.sorted else picks)
