"""What the doctor says of addresses that answer and of those that do not."""

import base64
import io
import urllib.request
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError

import pytest

from tools import doctor

INDEX_PAGE, NOWHERE = "http://server/simple/pip/", "http://127.0.0.1:1"
PAGES: dict[str, str] = {}
ASKED: list[tuple[str, str | None, str | None]] = []  # address, range and login of every request
OPEN = urllib.request.urlopen


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for http://server and http://other alone."""

    def answer(request: urllib.request.Request, timeout: float) -> Any:
        if request.host not in ("server", "other"):
            return OPEN(request, timeout=timeout)
        ASKED.append((url := request.full_url, request.get_header("Range"), request.get_header("Authorization")))
        if url not in PAGES:
            raise HTTPError(url, 404, "Not Found", {}, None)  # type: ignore[arg-type]
        return io.BytesIO(PAGES[url].encode())

    ASKED.clear()
    PAGES.clear()
    PAGES.update({"http://server/set": "x", INDEX_PAGE: link("/a.whl"), "http://server/a.whl": "wheel"})
    PAGES["http://server/v1/querybatch"] = '{"results": []}'
    monkeypatch.setattr(urllib.request, "urlopen", answer)


def link(to: str) -> str:
    return f'<!DOCTYPE html><html><body><a data-x="1" href="{to}">x</a></body></html>'


def test_a_login_in_an_address_goes_to_its_host_alone_and_into_no_message() -> None:
    PAGES.update({INDEX_PAGE: link("../../files/a&amp;b.whl#sha256=0"), "http://server/files/a&b.whl": "wheel"})
    secret, login = "http://me:hunter%402@server/simple/", f"Basic {base64.b64encode(b'me:hunter@2').decode()}"
    doctor.package_index(secret)
    # A byte of the file is enough.
    assert [(INDEX_PAGE, "bytes=0-65535", login), ("http://server/files/a&b.whl", "bytes=0-0", login)] == ASKED
    PAGES[INDEX_PAGE] = link("http://other/b.whl?signature=hunter3")
    with pytest.raises(doctor.UnansweredError, match="404") as said:
        doctor.package_index(secret)
    assert "hunter" not in str(said.value)
    assert ASKED[-1] == ("http://other/b.whl?signature=hunter3", "bytes=0-0", None)


SET, INDEX, SOURCE = "dataset-url", "package-index", "vulnerability-source"
# The option, its address, what stands there in place of what should, the state, and words of the line about it.
LINES: list[tuple[str, str, dict[str, str], str, str]] = [
    (SET, "http://server/set", {}, "ok", "http://server/set answers"),
    (SET, NOWHERE, {}, "FAILED", "refused (--dataset-url): name a mirror"),
    (SET, "not an address", {}, "FAILED", "unknown url type"),
    (SET, "", {}, "skipped", "no address is named (--dataset-url)"),
    (INDEX, "http://server/simple", {}, "ok", "http://server/simple answers"),
    (INDEX, "http://server/simple", {INDEX_PAGE: "<html>please log in</html>"}, "FAILED", "lists no file"),
    ("torch-index", NOWHERE, {}, "warning", "(--torch-index): KWS_TORCH_INDEX names another"),
    (SOURCE, "http://server", {}, "ok", "http://server answers"),
    (SOURCE, "http://server", {"http://server/v1/querybatch": "{}"}, "FAILED", "does not answer as OSV"),
]


def test_a_line_a_check_whatever_failed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    normal = PAGES.copy()
    for number, (option, address, pages, state, said) in enumerate(LINES):
        PAGES.update(normal | pages)
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=19 + number % 2: SimpleNamespace(total=100, free=free))
        asked = {INDEX: "", "torch-index": "", SET: "", SOURCE: "", option: address}
        monkeypatch.setattr("sys.argv", ["doctor", *(f"--{name}={url}" for name, url in asked.items())])
        assert doctor.main() == (3 if state == "FAILED" else 0)
        lines = capsys.readouterr().out.splitlines()
        found = {line[9:].partition(":")[0].replace(" ", "-"): line for line in lines}
        state_of_disk, _, told = found.pop("disk").partition(" ")
        assert (state_of_disk, "drops its whole cache" in told) == (("ok", False) if number % 2 else ("warning", True))
        states = {name: line.split()[0] for name, line in found.items()}
        assert states == {**dict.fromkeys(asked, "skipped"), option: state}
        assert said in found[option]
