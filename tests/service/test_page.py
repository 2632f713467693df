"""The page in headless Chromium, whose microphone plays a file (over the WebDriver protocol)."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from .server import LOCAL, Server, free_port
from .tones import encode, tone

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromium-driver are not installed")


class Page:
    """The page in one browser session."""

    def __init__(self, driver: str, url: str, clip: Path) -> None:
        arguments = [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={clip}",
        ]  # fmt: skip
        options = {"browserName": "chrome", "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments}}
        options["goog:loggingPrefs"] = {"browser": "ALL"}
        self.http = httpx.Client(base_url=driver, timeout=60, **LOCAL)
        created = self.http.post("/session", json={"capabilities": {"alwaysMatch": options}}).json()["value"]
        self.session = f"/session/{created['sessionId']}"
        self.call("url", url=url)

    def call(self, command: str, **body: object) -> Any:
        answer = self.http.post(f"{self.session}/{command}", json=body).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def js(self, script: str) -> Any:
        return self.call("execute/sync", script=script, args=[])

    def until(self, script: str, seconds: float = 20) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := self.js(f"return {script}")):
            assert time.monotonic() < deadline, self.js("return document.body.innerText")
            time.sleep(0.05)
        return found

    def errors(self) -> list[Any]:
        entries = self.call("se/log", type="browser")
        return [entry for entry in entries if entry["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def page(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    clip = tmp_path_factory.mktemp("microphone") / "yes.wav"
    clip.write_bytes(encode(np.repeat(tone("yes", 3.0, 48_000), 2, axis=1), 48_000))
    port = free_port()
    process = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    driver = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(f"{driver}/status", **LOCAL)
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        opened = Page(driver, server.url, clip)
        yield opened
        opened.http.delete(opened.session)
    finally:
        process.terminate()
        process.wait(10)


STATUS = "document.getElementById('status').textContent"


def test_samples_without_a_microphone(page: Page) -> None:
    page.until("document.querySelectorAll('#samples button').length == 4")
    page.js("document.querySelector('#samples button').click()")
    page.until(f"{STATUS}.includes('“down”')")
    assert page.js("return document.querySelectorAll('#bars meter').length") == 4


def test_record(page: Page) -> None:
    page.js("document.getElementById('record').click()")
    page.until(f"{STATUS}.includes('“yes”')")
    assert "microphone" in page.js("return document.querySelector('#history li').textContent")
    assert "round trip" in page.js("return document.getElementById('facts').textContent")


def test_the_threshold_is_a_line_to_drag(page: Page) -> None:
    page.js("document.querySelector('#samples button').click()")
    page.until(f"{STATUS}.includes('“down”')")
    left, top, width = page.js(
        "const meter = document.querySelector('#bars meter'); meter.scrollIntoView({block: 'center'});"
        "const box = meter.getBoundingClientRect(); return [box.left, box.top + box.height / 2, box.width]"
    )
    places = [round(left + share * width) for share in (0.5, 0.6, 0.9)]
    moves = [{"type": "pointerMove", "duration": 20, "x": x, "y": round(top)} for x in places]
    press, release = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
    pointer = {"type": "pointer", "id": "mouse", "actions": [moves[0], press, *moves[1:], release, moves[0]]}
    page.call("actions", actions=[pointer])
    value = page.js("return document.getElementById('threshold').value")
    assert float(value) == pytest.approx(0.9, abs=0.02)
    assert page.js("return document.getElementById('threshold').getAttribute('aria-valuetext')").startswith("90")
    assert page.js("return getComputedStyle(document.documentElement).getPropertyValue('--threshold')") == value


def test_by_keyboard_alone(page: Page) -> None:
    """Every control is reached by the tab key, is named, and the slider moves by the arrow keys."""

    def keys(*values: str) -> None:
        strokes = [{"type": kind, "value": value} for value in values for kind in ("keyDown", "keyUp")]
        page.call("actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    reached = []
    for _ in range(30):  # once round, wherever it begins
        keys("\ue004")
        reached.append(page.js("return document.activeElement.id || document.activeElement.textContent"))
    while reached[-1] != "threshold":
        keys("\ue004")
        reached.append(page.js("return document.activeElement.id || document.activeElement.textContent"))
    assert {"record", "live", "file", "Classify", "threshold"} <= set(reached), reached
    before = float(page.js("return document.getElementById('threshold').value"))
    keys("\ue012", "\ue012")
    assert float(page.js("return document.getElementById('threshold').value")) < before
    unnamed = page.js(
        "return [...document.querySelectorAll('button, input, meter')]"
        ".filter(item => !item.textContent.trim() && !item.labels?.length && !item.hasAttribute('aria-hidden'))"
        ".map(item => item.outerHTML)"
    )
    assert unnamed == []


def test_live_mode_announces_a_word_once(page: Page) -> None:
    page.js("document.getElementById('live').click()")
    page.until("[...document.querySelectorAll('#history li')].some(item => item.textContent.includes('live'))")
    time.sleep(1)  # the tone goes on, and several more windows hear it
    entries = page.js("return [...document.querySelectorAll('#history li')].map(item => item.textContent)")
    assert sum("live" in entry for entry in entries) == 1
    page.js("document.getElementById('live').click()")
    page.until("document.getElementById('live').textContent == 'Start live mode'")


def test_no_errors_in_the_console(page: Page) -> None:
    """Nothing refused by the content security policy, no exception."""
    assert page.errors() == []
