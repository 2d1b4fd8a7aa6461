"""Drawing primitives: escaped SVG elements, scales with round ticks, and a colour-blind-safe palette for both schemes.

Colours are CSS variables (`--c0` ... `--c6`, `--ink`, `--soft`, ...) so that one drawing serves light and dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SERIES = 7
"""How many distinct series colours there are (Okabe and Ito's palette, adjusted for contrast in each scheme)."""

LIGHT = {
    "paper": "#fcfcfa", "card": "#ffffff", "ink": "#1b1e23", "soft": "#5b636e",
    "line": "#d9dce1", "faint": "#eef0f2",
    "c0": "#0b67a8", "c1": "#c8500a", "c2": "#00815e", "c3": "#a8477f", "c4": "#8a6a00",
    "c5": "#66727f", "c6": "#5d54a8",
    "heat": "11 103 168", "bad": "#b3261e", "good": "#00815e", "slot": "#e8f1f9",
}  # fmt: skip
DARK = {
    "paper": "#14161a", "card": "#1b1e23", "ink": "#e7e9ec", "soft": "#a2aab5",
    "line": "#363b43", "faint": "#24282e",
    "c0": "#62b3ec", "c1": "#f28b4b", "c2": "#3fc79c", "c3": "#e08fbd", "c4": "#dcb83a",
    "c5": "#b3bcc7", "c6": "#a99ff0",
    "heat": "98 179 236", "bad": "#ff8a80", "good": "#3fc79c", "slot": "#1d2f3f",
}  # fmt: skip

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"

SVG_CSS = (
    "svg.draw text{fill:var(--ink);font-family:" + FONT + ";font-variant-numeric:tabular-nums}"
    "svg.draw .soft{fill:var(--soft)}svg.draw .strong{font-weight:600}"
    "svg.draw .badge{fill:var(--paper);font-weight:600}"
    "svg.draw .grid{stroke:var(--faint);stroke-width:1}svg.draw .axis{stroke:var(--line);stroke-width:1}"
)


def variables() -> str:
    """The CSS that sets the palette, with its dark half under `prefers-color-scheme`."""
    light = ";".join(f"--{name}:{value}" for name, value in LIGHT.items())
    dark = ";".join(f"--{name}:{value}" for name, value in DARK.items())
    return f":root{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def esc(value: object) -> str:
    """Text that is safe inside elements and quoted attributes; control characters become a visible mark."""
    shown = "".join(c if c in "\n\t" or c.isprintable() else "�" for c in str(value))
    return html.escape(shown, quote=True)


def num(value: float) -> str:
    """A coordinate with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")


def colour(index: int) -> str:
    """The CSS colour of series `index`; the palette repeats."""
    return f"var(--c{index % SERIES})"


def tag(name: str, body: str = "", /, **attributes: object) -> str:
    """One element; attribute values are escaped, `body` must be markup already. `_` in names reads as `-`."""
    parts = []
    for key, value in attributes.items():
        if value is None:
            continue
        shown = num(value) if isinstance(value, float) else esc(value)
        parts.append(f' {key.rstrip("_").replace("_", "-")}="{shown}"')
    return f"<{name}{''.join(parts)}>{body}</{name}>" if body else f"<{name}{''.join(parts)}/>"


def tip(words: str) -> str:
    """A hover text for the enclosing element."""
    return tag("title", esc(words))


def label(
    x: float, y: float, words: str, *, size: float = 12, anchor: str = "start", cls: str | None = None, **more: object
) -> str:
    """A line of text with its baseline at `y`."""
    return tag(
        "text", esc(words), x=float(x), y=float(y), font_size=float(size), text_anchor=anchor, class_=cls, **more
    )


def line(x1: float, y1: float, x2: float, y2: float, **style: object) -> str:
    """A straight line."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), **style)


def polyline(points: Sequence[tuple[float, float]], **style: object) -> str:
    """An open line through the points."""
    path = " ".join(f"{num(x)},{num(y)}" for x, y in points)
    return tag("polyline", points=path, fill="none", **style)


def document(width: float, height: float, body: str, *, title: str, standalone: bool = False, least: float = 0) -> str:
    """A whole drawing that scales down to its column. `standalone` adds the palette, for a file of its own.

    Below `least` pixels it is not scaled down any further.
    """
    style = f"<style>{variables()}{SVG_CSS}</style>" if standalone else ""
    ground = tag("rect", width="100%", height="100%", fill="var(--paper)") if standalone else ""
    return tag(
        "svg", style + ground + body, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {num(width)} {num(height)}",
        width=float(width), height=float(height), class_="draw", role="img", aria_label=title,
        style=f"min-width:{num(least)}px" if least else None,
    )  # fmt: skip


def text_width(words: str, size: float = 12) -> float:
    """A generous guess of a text's width in pixels in a proportional face."""
    narrow = sum(c in "ijlt.,:;'|!()[] fr" for c in words)
    wide = sum(c in "mwMW@%" or ord(c) > 0x2E80 for c in words)
    return size * (0.59 * (len(words) - narrow - wide) + 0.34 * narrow + 0.95 * wide)


def clip(words: str, width: float, size: float = 12) -> str:
    """The text, shortened in the middle to fit `width` pixels."""
    if text_width(words, size) <= width:
        return words
    for kept in range(min(len(words) - 1, int(width / size * 3)), 1, -1):
        head = math.ceil(kept * 0.6)
        shown = f"{words[:head]}…{words[len(words) - (kept - head) :]}"
        if text_width(shown, size) <= width:
            return shown
    return "…"


@dataclass(frozen=True, slots=True)
class Scale:
    """A map from data to pixels. `low` and `high` are the data's ends, `start` and `stop` the pixels'."""

    low: float
    high: float
    start: float
    stop: float
    kind: Literal["linear", "log"] = "linear"

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.kind == "log":
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, 1e-300))
        share = (at - low) / (high - low)
        return self.start + min(1.02, max(-0.02, share)) * (self.stop - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values inside the scale, at most about `most` of them."""
        return log_ticks(self.low, self.high, most) if self.kind == "log" else nice_ticks(self.low, self.high, most)


def scale(values: Sequence[float], start: float, stop: float, *, pad: float = 0.05) -> Scale:
    """A linear scale around the values with some air; a single value gets a width of its own."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * pad or abs(high) * 0.05 or 1.0
    return Scale(low - room, high + room, start, stop)


def log_scale(values: Sequence[float], start: float, stop: float) -> Scale:
    """A logarithmic scale where the positive values span more than a factor of 12, else a linear one."""
    positive = [v for v in values if v > 0]
    if len(positive) < len(values) or not positive or max(positive) / min(positive) < 12:
        return scale(values, start, stop)
    return Scale(min(positive) / 1.15, max(positive) * 1.15, start, stop, "log")


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between `low` and `high`, at most `most` of them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low or most < 2:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.9999)
    first = math.ceil(low / step - 1e-9)
    found: list[float] = []
    while first * step <= high + step * 1e-9 and len(found) <= most:
        found.append(first * step)
        first += 1
    return found or [low]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """1, 2, 5 (or only 1) times powers of ten between `low` and `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
        if len(found) <= most:
            break
    return found[:: max(1, math.ceil(len(found) / most))] or [low]
