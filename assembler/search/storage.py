"""Optuna's storages by URL, asked again for a while where a database is away.

URLs: `journal:///study.log` (a file; four slashes for an absolute path), `sqlite:///study.db`, `postgresql://...`,
`mysql://...`.
"""

from __future__ import annotations

import logging
import random
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from assembler.errors import InputError, StoreError, near
from assembler.resources import runs_home
from assembler.search.pareto import Direction
from assembler.search.shared import StudyLog

T = TypeVar("T")
_FORMS = "journal:///study.log, sqlite:///study.db, postgresql://user@host/db or mysql://user@host/db"
JOURNAL = "study.log"
"""The journal in the folder of a search."""
_DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql"}
_LOG = logging.getLogger(__name__)
_PATIENCE = 300.0  # seconds that a database may be away


class Access:
    """A storage that is asked again, with growing pauses, where the connection to its database fails."""

    def __init__(self, storage: Any, url: str, patience: float = _PATIENCE) -> None:
        self.storage, self.url = storage, url
        if engine := getattr(getattr(storage, "_backend", None), "engine", None):
            weakref.finalize(self, engine.dispose)
            # The pool tells of each lost connection with a traceback, of what is waited for here.
            logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        self.patience = patience

    def __call__(self, call: Callable[[Any, bool], T]) -> T:
        """What `call(storage, again)` gives; `again` says that an earlier try may have come through after all.

        Raises StoreError where the database has been away for too long.
        """
        end, pause, again = time.monotonic() + self.patience, 0.1, False
        while True:
            try:
                return call(self.storage, again)
            except Exception as error:
                if not _is_away(error):
                    raise
                if time.monotonic() >= end:
                    said = self._given_up(error)
                    self.patience = 0.0  # who waited once need not wait again to be told so
                    raise said from error
                if not again:
                    _LOG.warning("%s does not answer; it is waited for, %g s at most", hidden(self.url), self.patience)
            again = True
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 5.0)

    def _given_up(self, error: Exception) -> StoreError:
        said = f"{hidden(self.url)} has not answered for {self.patience:g} s: {first_line(error.__cause__ or error)}"
        return StoreError(said, hint="what is recorded is kept, and the same command goes on from there")


def open_study(
    url: str,
    name: str,
    directions: Sequence[Direction] = ("maximize",),
    workers: int = 1,
    *,
    apart: bool = False,
    grace: float = 60.0,
    patience: float = _PATIENCE,
) -> StudyLog:
    """The study of that name in a storage, made if it is not there.

    With `apart` candidates are evaluated in worker processes, and seldom are to blame where this one dies.
    A process that has not been heard of for `grace` seconds is taken for dead, a database that has been away for
    `patience` seconds for gone. Raises InputError for a URL that is not understood or cannot be opened, for SQLite with
    more than one worker, and for a study of other directions.
    """
    import optuna

    access = Access(_storage(url, workers), url, patience)
    study = optuna.create_study(
        storage=access.storage, study_name=name, directions=list(directions), load_if_exists=True
    )
    there = tuple(d.name.lower() for d in study.directions)
    if there != tuple(directions):
        raise InputError(
            f"study '{name}' in {hidden(url)} is there to {' and '.join(there)}, not to {' and '.join(directions)}",
            hint="give the study another name",
        )
    return StudyLog(access, name, workers, grace, alone=url.startswith("sqlite"), apart=apart)


def load_study(url: str, name: str | None = None) -> StudyLog:
    """A study that is there; the name may be left out where the storage has one alone. Raises InputError without it."""
    path = Path(url.partition("://")[2].removeprefix("/"))
    if url.startswith(("journal:", "sqlite:")) and not path.expanduser().is_file():
        raise InputError(f"there is no study in {url}: no such file", hint="`assembler search --storage` makes one")
    access = Access(_storage(url, 1), url)
    names = sorted(s.study_name for s in access(lambda s, again: s.get_all_studies()))
    if name is None and len(names) == 1:
        name = names[0]
    if name is None or name not in names:
        listed = f"studies: {', '.join(names) or 'none'}"
        what = f"{hidden(url)} has {len(names)} studies" if name is None else f"{hidden(url)} has no study '{name}'"
        raise InputError(what, hint=(near(name or "", names) or listed) if name else f"name one with --study; {listed}")
    return StudyLog(access, name)


def storage_url(where: str) -> str:
    """The URL of a storage; a journal's path, a run's folder, or a run's name for its newest one, is that of a journal.

    Raises InputError where there is nothing of that name.
    """
    if "://" in where:
        return where
    home, path = runs_home(), Path(where).expanduser()
    newest = sorted(f for f in (home / where).glob(f"*/{JOURNAL}") if f.parent.name != "latest")[-1:]
    for found in (path / JOURNAL if path.is_dir() else path, *newest):
        if found.exists():
            return f"journal:///{found.resolve()}"
    names = [folder.name for folder in home.glob("*")] if home.is_dir() else []
    raise InputError(f"there is no search '{where}'", hint=near(where, names) or f"name a run's folder, or {_FORMS}")


def hidden(url: str) -> str:
    """A URL without its password."""
    head, at, tail = url.partition("://")[2].rpartition("@")
    user, colon, _ = head.partition(":")
    return f"{url.partition('://')[0]}://{user}:***@{tail}" if at and colon else url


def first_line(error: BaseException) -> str:
    """What an error says first."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _is_away(error: Exception) -> bool:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError

    if isinstance(error, StorageInternalError):
        return isinstance(error.__cause__, DBAPIError | PendingRollbackError)
    return isinstance(error, OperationalError | PendingRollbackError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def _storage(url: str, workers: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    scheme, separator, rest = url.partition("://")
    path = Path(rest.removeprefix("/")).expanduser()
    if scheme == "journal" and rest.startswith("/") and path.name:
        return _journal(path)
    if scheme == "sqlite" and workers > 1:
        instead = f"journal:///{path.with_suffix('.log')}" if path.name else "journal:///study.log"
        raise InputError(f"SQLite is for one worker, not for {workers}: {url}", hint=f"use {instead}")
    if not separator or scheme.split("+")[0] not in ("sqlite", "postgresql", "mysql"):
        raise InputError(f"'{url}' is no storage URL", hint=f"use {_FORMS}")
    if scheme == "sqlite" and path.name:
        _folder(path)
    try:
        # A connection that the database has dropped in the meantime is noticed before it is used.
        return optuna.storages.get_storage(
            optuna.storages.RDBStorage(_with_driver(url), engine_kwargs={"pool_pre_ping": True})
        )
    except ImportError as error:
        extra = scheme.split("+")[0]
        hint = "use journal:///" if extra == "sqlite" else f"pip install 'assembler[{extra}]', or use journal:///"
        raise InputError(f"{hidden(url)} needs a database driver: {error}", hint=hint) from None
    except Exception as error:
        hint = (
            "is the server up, and is the name of the database right?"
            if scheme != "sqlite" and _is_away(error)
            else f"use {_FORMS}"
        )
        raise InputError(f"cannot open {hidden(url)}: {first_line(error)}", hint=hint) from None


def _with_driver(url: str) -> str:
    """A URL that names no driver is for that of the package's extra, where it is installed."""
    import importlib.util

    scheme, _, rest = url.partition("://")
    driver = _DRIVERS.get(scheme, "")
    return f"{scheme}+{driver}://{rest}" if driver and importlib.util.find_spec(driver) else url


def _journal(path: Path) -> Any:
    from optuna.storages import JournalStorage

    from assembler.search.journal import Journal

    _folder(path)
    try:
        return JournalStorage(Journal(path))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is no journal of studies", hint="name another file") from None


def _folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path.parent}: {error.strerror}") from None
