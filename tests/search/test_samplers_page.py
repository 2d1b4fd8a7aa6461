"""What docs/samplers.md shows works: its sampler is a plug-in, and its test passes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
TABLE = "kind: table\nname: t\nfile: t.json\ndecisions: {a: {$int: [1, 8]}}\nmetrics: {score: maximize}\n"


def test_the_sampler_is_one_file_and_keeps_the_contract(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    told = _python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_annealing.py")
    assert " passed" in told, told


def test_the_sampler_plays_as_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "annealing.py").write_text(FILES["annealing.py"])
    (tmp_path / "t.yaml").write_text(TABLE)
    (tmp_path / "t.json").write_text(str([{"a": a, "score": a} for a in range(1, 9)]).replace("'", '"'))
    wanted = "{name: distinct, of: {name: annealing, temperature: 0.3}}"
    arguments = ("bench", "t.yaml", "--plugin", "annealing.py", "--sampler", wanted, "--queries", "8", "--seeds", "2")
    assert " 8 " in _python(tmp_path, "-m", "assembler", *arguments)


def _python(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
