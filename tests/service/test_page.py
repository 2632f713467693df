"""The page in headless Chromium, whose microphone plays a file (over the WebDriver protocol)."""

import base64
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import httpx
import pytest

from .server import ROOT, Server, free_port
from .tones import encode, tone

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromium-driver are not installed")
STATUS = "document.getElementById('status').textContent"
AXE = os.environ.get("KWS_TEST_AXE", "")  # axe.min.js, as the npm package axe-core has it
PICTURE, MODEL = os.environ.get("KWS_TEST_PICTURE", ""), os.environ.get("KWS_MODEL", "")  # of `make page`


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

    def emulate(self, name: str, **parameters: object) -> Any:
        """A command of Chromium's own protocol, such as another size or a dark mode."""
        return self.call("goog/cdp/execute", cmd=name, params=parameters)


@contextmanager
def browser(url: str, clip: Path) -> Iterator[Page]:
    """The page in a browser of its own, whose microphone plays `clip` again and again."""
    port = free_port()
    with Popen([str(DRIVER), f"--port={port}"], stdout=DEVNULL, stderr=DEVNULL) as process:
        try:
            opened = Page(f"http://127.0.0.1:{port}", url, clip)
            yield opened
            # Nothing was refused by the content security policy, no exception.
            assert [entry for entry in opened.call("se/log", type="browser") if entry["level"] == "SEVERE"] == []
            opened.http.delete(opened.session)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def page(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    clip = tmp_path_factory.mktemp("microphone") / "yes.wav"
    clip.write_bytes(encode(tone("yes", 3.0, 48_000, 2), 48_000))
    with browser(server.url, clip) as opened:
        yield opened


def test_samples_without_a_microphone_and_a_recording(page: Page) -> None:
    page.until("document.querySelectorAll('#samples button').length == 4")
    page.click("#samples button")
    page.until(f"{STATUS}.includes('“down” accepted')")
    assert page.js(STATUS).endswith("over its threshold of 50.0 %")
    assert page.js("document.querySelector('#status strong').textContent") == "“down”"
    assert page.js("document.querySelectorAll('#bars meter').length") == 4
    page.click("#record")
    page.until(f"{STATUS}.includes('“yes”')")
    assert "microphone" in page.js("document.querySelector('#history li').textContent")
    assert "round trip" in page.js("document.getElementById('facts').textContent")


def test_the_word_is_marked_and_what_is_not_accepted_says_so(page: Page) -> None:
    # Loud from 0.3 to 0.5 s of a second, in a quiet room.
    quiet = "Float32Array.from({length: 16000}, (_, k) => 0.001 + 0.5 * (k >= 4800 && k < 8000))"
    assert page.js(f"loudPart({quiet}, 16000, 0, 16000)") == [4800, 8000]
    assert page.js("loudPart(new Float32Array(16000), 16000, 0, 16000)") is None
    answer = "{prediction: 'up', confidence: 0.4, accepted: false, threshold: 0.61}"
    assert page.js(f"verdict({answer})") == "not accepted: 40.0 %, under its threshold of 61.0 %"


def test_by_keyboard_alone(page: Page) -> None:
    """Every control is reached by the tab key and is named."""
    reached, tab = set(), [{"type": kind, "value": "\ue004"} for kind in ("keyDown", "keyUp")]
    for _ in range(30):  # once round, wherever it begins
        page.call("actions", actions=[{"type": "key", "id": "keyboard", "actions": tab}])
        reached.add(page.js("document.activeElement.id || document.activeElement.textContent"))
    assert {"record", "live", "file", "Try “yes”"} <= reached, reached
    named = "item.textContent.trim() || item.labels?.length || item.hasAttribute('aria-hidden')"
    controls = "[...document.querySelectorAll('button, input, select, meter')]"
    assert page.js(f"{controls}.filter(item => !({named})).map(item => item.outerHTML)") == []


@pytest.mark.skipif(not AXE, reason="KWS_TEST_AXE names no axe.min.js (npm install axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_a_phone(page: Page, scheme: str) -> None:
    page.click("#samples button")
    page.until("!document.getElementById('result').hidden")
    page.emulate("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True)
    page.emulate("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert page.js("document.documentElement.scrollWidth") == 320
    page.call("execute/sync", script=Path(AXE).read_text(), args=[])
    found = page.call("execute/async", script="axe.run().then(arguments[0])", args=[])
    assert len(found["passes"]) > 20
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in serious] == []
    page.emulate("Emulation.clearDeviceMetricsOverride")


def test_live_mode_announces_a_word_once(page: Page) -> None:
    page.click("#live")
    entries = "[...document.querySelectorAll('#history li')].filter(item => item.textContent.includes('live')).length"
    page.until(entries)
    time.sleep(1)  # the tone goes on, and several more windows hear it
    assert page.js(entries) == 1
    page.click("#live")
    page.until("document.getElementById('live').textContent == 'Start live mode'")


@pytest.mark.skipif(not PICTURE, reason="KWS_TEST_PICTURE names no file: `make page` does")
def test_picture(tmp_path: Path) -> None:
    """docs/page.png anew: the page with a trained model and one of the shipped recordings."""
    samples = ROOT / "service" / "samples"
    server = Server(tmp_path, model=Path(MODEL).resolve(), samples=samples)
    with server, browser(server.url, samples / "yes.wav") as page:
        page.emulate("Emulation.setDeviceMetricsOverride", width=480, height=785, deviceScaleFactor=1, mobile=True)
        page.click("#samples button[data-word=yes]")
        page.until("!document.getElementById('result').hidden")
        picture = page.emulate("Page.captureScreenshot", format="png")["data"]
        Path(PICTURE).write_bytes(base64.b64decode(picture))
