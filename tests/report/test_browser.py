"""The report in headless Chromium with the network off: no console error, every figure drawn, nothing sticks out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from make_search import make_search

from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.text import to_text
from assembler.report.html import write_report

FIGURES = ["graph", "parts", "candidates", "curves", "comparison", "compute"]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
STICKS_OUT = """
const wide = document.documentElement.clientWidth, found = [];
if (document.documentElement.scrollWidth > wide) found.push(`page ${document.documentElement.scrollWidth} > ${wide}`);
for (const e of document.querySelectorAll('main *')) {
  if (e.closest('.scroll, pre') && !e.matches('.scroll, pre')) continue;
  const box = e.getBoundingClientRect();
  if (box.width && (box.right > wide + 1 || box.left < -1)) found.push(e.outerHTML.slice(0, 80));
}
return found;
"""
OVERLAPS = """
const found = [];
for (const svg of document.querySelectorAll('svg.draw')) {
  const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()])
    .filter(([, b]) => b.width);
  for (let i = 0; i < texts.length; i++) for (let j = 0; j < i; j++) {
    const [a, p] = texts[i], [b, q] = texts[j];
    const x = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (x > 1 && y > 4) found.push(`${a} | ${b}`);
  }
}
return found;
"""


def programs() -> tuple[str, str]:
    """The browser and its driver. Skips where there is none, fails under CI=true."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    message = "no Chromium with chromedriver here (Debian: apt-get install chromium chromium-driver)"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    binary, driver = programs()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})  # type: ignore[no-untyped-call]
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


def show(browser: Any, page: Path, width: int, *, dark: bool = False) -> None:
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    browser.get(page.as_uri())


@pytest.mark.parametrize("width", [380, 800, 1280])
def test_every_figure_is_drawn_without_errors_and_inside_the_window(browser: Any, run_dir: Path, width: int) -> None:
    show(browser, write_report(run_dir), width)
    assert browser.get_log("browser") == []
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('figure')].map(f =>"
        "[f.id, f.getBoundingClientRect().width, f.getBoundingClientRect().height])"
    )
    assert [name for name, _, _ in sizes] == FIGURES
    assert all(w > 200 and h > 100 for _, w, h in sizes), sizes
    assert browser.execute_script(STICKS_OUT) == []
    assert browser.execute_script(OVERLAPS) == []


@pytest.mark.parametrize("width", [380, 1280])
def test_the_page_of_a_search_is_drawn_without_errors_and_inside_the_window(
    browser: Any, tmp_path: Path, width: int
) -> None:
    show(browser, write_report(make_search(tmp_path)), width)
    assert browser.get_log("browser") == []
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('figure')].map(f => f.getBoundingClientRect().height)"
    )
    assert len(sizes) == 4 and all(h > 100 for h in sizes), sizes
    assert browser.execute_script(STICKS_OUT) == []
    assert browser.execute_script(OVERLAPS) == []


def test_a_graph_wider_than_the_window_scrolls_in_its_own_box(browser: Any, run_dir: Path) -> None:
    arms = {f"arm{i}": Node("conv2d", (("out", 64),), (("0", "x"),)) for i in range(20)}
    join = {"join": Node("concat", (), tuple((str(i), f"arm{i}") for i in range(20)))}
    graph = Graph((("x", TensorType((1, 3, 8, 8))),), {**arms, **join}, (("y", "join"),))
    (run_dir / "graph.txt").write_text(to_text(graph), encoding="utf-8")
    show(browser, write_report(run_dir), 380)
    assert browser.execute_script(STICKS_OUT) == []
    assert browser.execute_script(OVERLAPS) == []
    inner, outer = browser.execute_script(
        "const s = document.querySelector('#graph .scroll'); return [s.scrollWidth, s.clientWidth]"
    )
    assert inner > 2 * outer


def test_an_empty_run_is_shown_too(browser: Any, tmp_path: Path) -> None:
    show(browser, write_report(tmp_path), 380)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [...document.querySelectorAll('figure')].map(f => f.id)") == FIGURES
    assert browser.execute_script(STICKS_OUT) == []


def test_dark_mode_has_its_own_colours_with_enough_contrast(browser: Any, run_dir: Path) -> None:
    page = write_report(run_dir)
    grounds = []
    for dark in (False, True):
        show(browser, page, 1000, dark=dark)
        ground, ink = browser.execute_script(
            "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        )
        assert contrast(ground, ink) > 7
        grounds.append(ground)
    assert grounds[0] != grounds[1]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two `rgb(r, g, b)` colours after WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(p) / 255 for p in colour.removeprefix("rgb(").rstrip(")").split(",")]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
