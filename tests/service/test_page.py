"""The page in headless Chromium, whose microphone plays a file (over the WebDriver protocol)."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .server import Server, free_port
from .tones import encode, tone

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromium-driver are not installed")
STATUS = "document.getElementById('status').textContent"


class Page:
    """The page in one browser session."""

    def __init__(self, driver: str, url: str, clip: Path) -> None:
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--use-fake-ui-for-media-stream"]
        arguments += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={clip}"]
        options = {"browserName": "chrome", "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments}}
        options["goog:loggingPrefs"] = {"browser": "ALL"}
        # The driver may not listen yet.
        self.http = httpx.Client(base_url=driver, timeout=60, transport=httpx.HTTPTransport(retries=7, trust_env=False))
        created = self.http.post("/session", json={"capabilities": {"alwaysMatch": options}}).json()["value"]
        self.session = f"/session/{created['sessionId']}"
        self.call("url", url=url)

    def call(self, command: str, **body: object) -> Any:
        answer = self.http.post(f"{self.session}/{command}", json=body).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def js(self, script: str) -> Any:
        return self.call("execute/sync", script=f"return {script}", args=[])

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector('{selector}').click()")

    def until(self, script: str) -> None:
        deadline = time.monotonic() + 20
        while not self.js(script):
            assert time.monotonic() < deadline, self.js("document.body.innerText")
            time.sleep(0.05)

    def keys(self, *values: str) -> None:
        strokes = [{"type": kind, "value": value} for value in values for kind in ("keyDown", "keyUp")]
        self.call("actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])


@pytest.fixture(scope="module")
def page(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    clip, port = tmp_path_factory.mktemp("microphone") / "yes.wav", free_port()
    clip.write_bytes(encode(tone("yes", 3.0, 48_000, 2), 48_000))
    process = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        opened = Page(f"http://127.0.0.1:{port}", server.url, clip)
        yield opened
        # Nothing was refused by the content security policy, no exception.
        assert [entry for entry in opened.call("se/log", type="browser") if entry["level"] == "SEVERE"] == []
        opened.http.delete(opened.session)
    finally:
        process.terminate()
        process.wait(10)


def test_samples_without_a_microphone_and_a_recording(page: Page) -> None:
    page.until("document.querySelectorAll('#samples button').length == 4")
    page.click("#samples button")
    page.until(f"{STATUS}.includes('“down”')")
    assert page.js("document.querySelectorAll('#bars meter').length") == 4
    page.click("#record")
    page.until(f"{STATUS}.includes('“yes”')")
    assert "microphone" in page.js("document.querySelector('#history li').textContent")
    assert "round trip" in page.js("document.getElementById('facts').textContent")


def test_by_keyboard_alone(page: Page) -> None:
    """Every control is reached by the tab key, is named, and the slider moves by the arrow keys."""
    reached: list[str] = []
    while len(reached) < 30 or reached[-1] != "threshold":  # once round, wherever it begins
        page.keys("\ue004")
        reached.append(page.js("document.activeElement.id || document.activeElement.textContent"))
    assert {"record", "live", "file", "Classify", "threshold"} <= set(reached), reached
    page.keys(*["\ue012"] * 100)
    value = page.js("document.getElementById('threshold').value")
    assert float(value) == pytest.approx(0.4)
    assert page.js("document.getElementById('threshold').getAttribute('aria-valuetext')") == "40 %"
    assert page.js("getComputedStyle(document.documentElement).getPropertyValue('--threshold')") == value
    named = "item.textContent.trim() || item.labels?.length || item.hasAttribute('aria-hidden')"
    controls = "[...document.querySelectorAll('button, input, meter')]"
    assert page.js(f"{controls}.filter(item => !({named})).map(item => item.outerHTML)") == []


def test_live_mode_announces_a_word_once(page: Page) -> None:
    page.click("#live")
    entries = "[...document.querySelectorAll('#history li')].filter(item => item.textContent.includes('live')).length"
    page.until(entries)
    time.sleep(1)  # the tone goes on, and several more windows hear it
    assert page.js(entries) == 1
    page.click("#live")
    page.until("document.getElementById('live').textContent == 'Start live mode'")
