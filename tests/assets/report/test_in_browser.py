"""The page as a person opens it, from the disk and without a network: it plays, fits, and runs nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from assets.report.build import report_corpus, report_path, write_index
from validation.lake import Lake

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(_CHROMIUM is None, reason="no chromium on the PATH"),
]
_PLAYS = """async () => {
    const players = [...document.querySelectorAll("audio")];
    await Promise.all(players.map(player => player.readyState ? 0 : new Promise((done, failed) => {
        player.onloadedmetadata = done;
        player.onerror = () => failed(player.error.message);
    })));
    return players.map(player => player.duration);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=_CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield opened
        opened.close()


def test_a_page_plays_fits_a_telephone_and_runs_nothing(
    lake: Lake, make: Any, tmp_path: Path, browser: Browser
) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    entry = make.ljspeech(tmp_path / "c", [("a" * 150, hostile), ("b", "hello there")])
    make.run_all(entry, lake)
    report_corpus(entry, lake)
    write_index(lake, [entry])
    page = browser.new_page(viewport={"width": 400, "height": 800})
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"file://{lake.root}/{report_path('made')}")
    assert page.evaluate(_PLAYS) == [pytest.approx(1.0, abs=0.1)] * 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 100)")
    assert page.get_by_text(hostile).first.is_visible()
    page.get_by_role("link", name="All corpora").click()
    page.get_by_role("link", name="made").first.click()
    assert page.url.endswith("made.html")
    assert said == []
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    page.close()
