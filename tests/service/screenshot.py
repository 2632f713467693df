"""`python -m tests.service.screenshot MODEL CLIP PICTURE`: the page, by a headless Chromium that hears CLIP."""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import soundfile

from service.settings import Settings

from .server import Server, free_port
from .test_page import DRIVER, STATUS, Page


def main(model: str, clip: str, picture: str) -> None:
    """Record from the fake microphone, and keep the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples, rate = soundfile.read(clip)
        soundfile.write(folder / "loop.wav", np.concatenate([samples, np.zeros(rate // 5)]), rate)
        port = free_port()
        process = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL)
        try:
            time.sleep(2)
            with Server(folder, Path(model).resolve(), samples=Settings().samples) as server:
                page = Page(f"http://127.0.0.1:{port}", server.url, folder / "loop.wav")
                page.call("window/rect", width=760, height=1350)
                page.until("document.querySelectorAll('#samples button').length")
                for heard in range(4):
                    page.js(f"document.querySelectorAll('#samples button')[{heard}].click()")
                    page.until(f"document.querySelectorAll('#history li').length == {heard + 1}")
                page.js("document.getElementById('record').click()")
                page.until(f"document.querySelectorAll('#history li').length == 5 && {STATUS}.includes('“')")
                shot = httpx.get(f"http://127.0.0.1:{port}{page.session}/screenshot", timeout=60, trust_env=False)
                Path(picture).write_bytes(base64.b64decode(shot.json()["value"]))
                page.http.delete(page.session)
        finally:
            process.terminate()
            process.wait(10)


if __name__ == "__main__":
    main(*sys.argv[1:])
