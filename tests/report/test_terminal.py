from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from make_run import summary
from rich.console import Console

from assembler.report.terminal import PlanRow, plan_table, run_tables, summary_table


def shown(*tables: object) -> str:
    console = Console(width=110, no_color=True, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in tables:
        console.print(table)
    console.file.close()
    return console.export_text()


def test_the_summary_names_the_winner_and_every_baseline() -> None:
    words = shown(summary_table(summary()))
    assert "94.2 ± 0.5 %" in words and "22.5 k" in words
    assert "end to end, same compute  (wins)" in words and "+0.5 points" in words
    assert "random assembly" in words and "so that baseline wins" in " ".join(words.split())


def test_names_are_not_markup_and_obey_no_terminal_codes() -> None:
    words = shown(summary_table(summary() | {"recipe": "[red]x[/red]\x1b[2J", "baselines": [{"name": "[bold]b"}]}))
    assert "[red]x[/red][2J" in words and "[bold]b" in words and "\x1b" not in words


def test_an_empty_summary_is_a_table_of_dashes() -> None:
    assert "the model" in shown(summary_table({}))


def test_the_plan_sums_up() -> None:
    rows = [PlanRow("stem", "conv2d", "32×8×8", 320, 40_000), PlanRow("head", "linear", "10", 650, 1300)]  # noqa: RUF001
    words = shown(plan_table(rows, title="quickstart"))
    assert "970" in words and "41.3 k" in words and "2 steps" in words
    assert "0 steps" in shown(plan_table([]))


def test_a_run_folder_as_tables(run_dir: Path) -> None:
    words = shown(*run_tables(run_dir))
    assert "incubate" in words and "44 G" in words
    assert "1 failed" in words and "chosen" in words


def test_rich_is_imported_only_for_a_table() -> None:
    code = "import sys, assembler.report.terminal, assembler.report.html; assert not {'rich', 'torch'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
