"""One self-contained `report.html` from the files of a run folder: no network, no script, inline style and drawings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from assembler.report import figures, search, tables
from assembler.report.data import Run, items, number, numbers, read_run, text
from assembler.report.figures import Figure
from assembler.report.numbers import count, plural, points, score, seconds, spread
from assembler.report.phases import timeline
from assembler.report.style import sheet
from assembler.report.svg import esc

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MOST_LOCK = 200_000

SECTIONS: tuple[tuple[str, str, Callable[[Run], Figure]], ...] = (
    ("graph", "The winner", figures.graph),
    ("parts", "Parts tried", figures.parts),
    ("candidates", "Candidates over cost", figures.candidates),
    ("curves", "Training curves", figures.curves),
    ("comparison", "The comparison", figures.comparison),
    ("compute", "Where the compute went", figures.compute),
)


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into the run folder and return its path. The file appears whole or not at all.

    Raises InputError where there is no such folder; whatever else is missing is said in the report.
    """
    page = render(read_run(run_dir))
    target = run_dir / "report.html"
    handle, temporary = tempfile.mkstemp(dir=run_dir, prefix=".report.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep others from a shared run folder
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def render(run: Run) -> str:
    """The page as text."""
    name = text(run.summary.get("recipe")) or run.folder.name
    searched = bool(run.section("study"))
    body = _header(run, name) + (search.happened(run) if searched else _happened(run))
    body += "".join(_section(key, title, draw(run)) for key, title, draw in (search.SECTIONS if searched else SECTIONS))
    body += "".join(_study(study, several=len(run.studies) > 1) for study in run.studies)
    body += _recipe(run) + _footer(run)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{esc(name)} · assembler report</title><style>{sheet()}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _study(run: Run, *, several: bool) -> str:
    """What the page of a search shows, of a search in a run; of several the seed tells which one."""
    seed = text(run.section("study").get("seed"))
    of, mark = (f" · seed {seed}", f"-{seed}") if several else ("", "")
    sections = (_section(key + mark, title + of, draw(run)) for key, title, draw in search.SECTIONS)
    return search.happened(run, f"What the search did{of}") + "".join(sections)


def _section(key: str, title: str, figure: Figure) -> str:
    if figure.missing:
        inside = f'<figcaption class="missing">{esc(figure.missing)}</figcaption>'
        return f'<section><h2>{esc(title)}</h2><figure id="{key}">{inside}</figure></section>'
    caption = f"<figcaption>{figure.caption}</figcaption>"
    return f'<section><h2>{esc(title)}</h2><figure id="{key}">{figure.body}{caption}</figure></section>'


def _header(run: Run, name: str) -> str:
    doc = text(run.summary.get("doc"))
    about = f'<p class="soft">{esc(doc)}</p>' if doc else ""
    verdict = text(run.summary.get("verdict")) or "This run has no verdict yet."
    facts = "".join(
        f"<div><dt>{esc(what)}</dt><dd>{esc(figure)}<span>{esc(more)}</span></dd></div>"
        for what, figure, more in _facts(run)
    )
    words = f'<h1>{esc(name)}</h1>{about}<p class="verdict">{esc(verdict)}</p>'
    return f'<header>{words}<dl class="facts">{facts}</dl></header>'


def _facts(run: Run) -> list[tuple[str, str, str]]:
    """(what, figure, remark) of the cards at the top; what is not known is left out."""
    result, teacher = run.section("result"), run.teacher
    mean, deviation = tables.mean_of(result, "test"), tables.deviation_of(result)
    seeds = len(numbers(result.get("test_per_seed")))
    found = []
    if mean is not None:
        found.append(
            (f"test {run.metric}", spread(mean, deviation, run.metric), plural(seeds, "seed") if seeds else "")
        )
    for key, what in (("params", "parameters"), ("flops", "FLOPs per sample")):
        if (own := number(result.get(key))) is not None:
            found.append((what, count(own), _share(own, number(teacher.get(key)))))
    if (theirs := number(teacher.get("test"))) is not None and mean is not None:
        found.append(
            (
                "against the teacher",
                points(mean - theirs, run.metric),
                f"its test {run.metric} is {score(theirs, run.metric)}",
            )
        )
    times = [v for v in map(number, run.section("time").values()) if v is not None]
    if times:
        found.append(("time", seconds(sum(times)), f"on {text(run.summary.get('device')) or 'an unnamed device'}"))
    return found


def _share(own: float, theirs: float | None) -> str:
    return f"{100 * own / theirs:.0f} % of the teacher" if theirs else ""


def _happened(run: Run) -> str:
    inside = timeline(run) if run.phases else '<p class="missing">No phase was recorded (summary.json).</p>'
    failures = items(run.summary.get("failures"))
    if failures:
        lines = [f"<li><b>{esc(text(f.get('task')))}</b>: {esc(text(f.get('reason')))}</li>" for f in failures[:12]]
        more = f"<li>… and {len(failures) - 12} more</li>" if len(failures) > 12 else ""
        title = f"<h3>{plural(len(failures), 'task')} failed, the others went on</h3>"
        inside += f'{title}<ul class="bad">{"".join(lines)}{more}</ul>'
    return f"<section><h2>What happened</h2>{inside}</section>"


def _recipe(run: Run) -> str:
    searched = bool(run.section("study"))
    file, said = (
        ("best.yaml", "the best candidate") if searched else ("recipe.lock.yaml", "run it again and get this run")
    )
    if not run.lock:
        inside = f'<p class="missing">The recipe is not in the run folder ({file}).</p>'
    else:
        cut = f"\n# cut here: {len(run.lock):,} characters in all" if len(run.lock) > MOST_LOCK else ""
        inside = f'<p class="soft">{file}: {said}.</p><pre tabindex="0">{esc(run.lock[:MOST_LOCK] + cut)}</pre>'
    title = "The best recipe" if searched else "The recipe as it was run"
    return f"<section><h2>{title}</h2>{inside}</section>"


def _footer(run: Run) -> str:
    said = [f"run folder {run.folder.name}"]
    if hashed := text(run.summary.get("hash")):
        said.append(f"hash {hashed}")
    if seeds := numbers(run.summary.get("seeds")):
        said.append(f"seeds {', '.join(f'{s:g}' for s in seeds[:20])}{' …' if len(seeds) > 20 else ''}")
    said += [f"{package} {text(version)}" for package, version in run.section("versions").items()]
    notes = "".join(f"<p>{esc(note)}</p>" for note in run.notes)
    return f"<footer><p>{esc(' · '.join(said))}</p>{notes}</footer>"
