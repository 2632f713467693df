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

from .server import Server, free_port
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
        self.http = httpx.Client(base_url=driver, timeout=60, trust_env=False)
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
                httpx.get(f"{driver}/status", trust_env=False)
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
