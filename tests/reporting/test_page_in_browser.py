"""The page in a real browser: headless Chromium, spoken to over its DevTools pipe."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hf_ood.studies.reproduce import main

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"""
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
PATIENCE = 60.0  # seconds

LOOK = """({
    title: document.title,
    width: document.documentElement.scrollWidth,
    links: [...document.querySelectorAll("nav a")].map(a => a.getAttribute("href")),
    broken: [...document.querySelectorAll('a[href^="#"]')]
        .map(a => a.getAttribute("href")).filter(href => !document.getElementById(href.slice(1))),
    figures: [...document.images].map(i => ({alt: i.alt, ready: i.complete, width: i.naturalWidth})),
    sections: [...document.querySelectorAll("section")].map(s => [s.id, s.innerText.trim().length]),
})"""


class Browser:
    """Chromium with one tab. Messages are JSON, each ended by a zero byte, on file descriptors 3 and 4."""

    def __init__(self, profile: Path):
        to_browser, self.writing = (_above_four(end) for end in os.pipe())
        self.reading, from_browser = (_above_four(end) for end in os.pipe())

        def as_three_and_four() -> None:
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        assert CHROMIUM is not None
        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=as_three_and_four,
            pass_fds=(3, 4),
        )
        os.close(to_browser)
        os.close(from_browser)
        self.numbers = itertools.count(1)
        self.received = b""
        self.events: list[dict[str, Any]] = []
        self.session: dict[str, str] = {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Give an order and wait for its result; what the browser tells meanwhile goes to `events`."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params, **self.session}
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, event: str) -> None:
        while not any(seen.get("method") == event for seen in self.events):
            self.events.append(self.receive())

    def receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self.received:
            ready, _, _ = select.select([self.reading], [], [], max(deadline - time.monotonic(), 0))
            assert ready, "the browser is silent"
            part = os.read(self.reading, 2**16)
            assert part, "the browser has ended"
            self.received += part
        message, _, self.received = self.received.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.writing)
        os.close(self.reading)


def _above_four(descriptor: int) -> int:
    """Move a file descriptor out of the way of those that the browser will have."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the committed results."""
    folder = tmp_path_factory.mktemp("page")
    for table in (ROOT / "trainers" / "results" / "quick").glob("*.csv"):
        shutil.copy(table, folder)
    recipes = str(ROOT / "trainers" / "recipes")
    assert main(["--from_results", "--recipes", recipes, "--output_dir", str(folder)]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def seen(browser: Browser, page: Path) -> dict[str, Any]:
    """What there is to see of the page on a phone, by a script in a world apart from the page's own."""
    for domain in ("Page", "Runtime", "Log"):
        browser.send(f"{domain}.enable")
    browser.send("Emulation.setDeviceMetricsOverride", **PHONE)
    frame = browser.send("Page.navigate", url=page.as_uri())["frameId"]
    browser.wait_for("Page.loadEventFired")
    world = browser.send("Page.createIsolatedWorld", frameId=frame)["executionContextId"]
    answer = browser.send("Runtime.evaluate", expression=LOOK, contextId=world, returnByValue=True)
    return answer["result"]["value"]


def test_the_contents_lead_to_every_section(seen: dict[str, Any], page: Path) -> None:
    studies = {table.stem for table in page.parent.glob("*.csv")}
    assert "MNIST" in seen["title"]
    assert seen["broken"] == []
    assert {f"#{name}" for name in studies} <= set(seen["links"])
    assert studies <= {name for name, length in seen["sections"] if length > 50}


def test_every_figure_is_there(seen: dict[str, Any]) -> None:
    assert len(seen["figures"]) >= len(seen["sections"]) > 0
    for figure in seen["figures"]:
        assert figure["ready"] and figure["width"] > 100 and figure["alt"], figure


def test_the_page_fits_a_phone(seen: dict[str, Any]) -> None:
    assert seen["width"] <= PHONE["width"]


def test_the_browser_has_nothing_to_complain_of(seen: dict[str, Any], browser: Browser) -> None:
    def complaint(event: dict[str, Any]) -> bool:
        params = event.get("params", {})
        return (
            event.get("method") == "Runtime.exceptionThrown"
            or (event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"))
            or (event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"))
        )

    assert [event for event in browser.events if complaint(event)] == []
