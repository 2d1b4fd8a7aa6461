"""What ends a verb: each kind of error in its own words, with its own exit code, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from assembler.cli import guard
from assembler.errors import InputError, TaskError
from assembler.registry import Entry, catalog

DEBUG = "    hint: ASSEMBLER_DEBUG=1 shows the traceback\n"


def raising(error: BaseException) -> Any:
    def verb() -> NoReturn:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("no such thing", hint="try this"), 2, "error: no such thing\n    hint: try this\n"),
        (TaskError("it failed"), 1, "error: it failed\n"),
        (KeyError("x"), 1, f"error: this is a bug in assembler: KeyError: 'x'\n{DEBUG}"),
        (PermissionError(13, "Permission denied", "/root/x"), 1, "error: Permission denied: /root/x\n"),
        (MemoryError(), 1, "error: there is not enough memory\n    hint: use fewer --workers or a smaller batch\n"),
        (KeyboardInterrupt(), 130, "interrupted; what is finished is kept, and the same command goes on from there\n"),
        (InputError("esc \x1b[31m"), 2, "error: esc \ufffd[31m\n"),
    ],
)
def test_errors_in_words(error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        guard.call(raising(error), {}, (), False)
    assert (end.value.code, *capsys.readouterr()) == (code, "", text)


def test_errors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        guard.call(raising(InputError("no", hint="yes", path="a.b")), {}, (), True)
    assert json.loads(capsys.readouterr().out) == {"error": [{"message": "no", "where": "a.b", "hint": "yes"}]}


def test_the_traceback_is_shown_on_demand(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSEMBLER_DEBUG", "1")
    with pytest.raises(SystemExit):
        guard.call(raising(KeyError("x")), {}, (), False)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_plugin_that_fails_is_no_bug_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.py"
    file.write_text("from assembler import loss\n\n\n@loss\ndef odd(value, target):\n    return value\n\n\n1 / 0\n")

    def verb() -> None:
        entry: Entry = catalog.lookup("loss", "odd")
        entry.load()

    with pytest.raises(SystemExit) as end:
        guard.call(verb, {}, [file], False)
    said = f"{file}:9: error: the plug-in failed: ZeroDivisionError: division by zero\n{DEBUG}"
    assert (end.value.code, capsys.readouterr().err) == (1, said)
