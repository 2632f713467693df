"""What the doctor says of addresses that answer and of those that do not, on loopback."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools import doctor

NOWHERE = "http://127.0.0.1:1"
PAGES: dict[str, str] = {}
ASKED: list[tuple[str, str | None, str | None]] = []  # path, range and login of every request


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        ASKED.append((self.path, self.headers["Range"], self.headers["Authorization"]))
        self.send_response(200 if self.path in PAGES else 404)
        self.end_headers()
        self.wfile.write(PAGES.get(self.path, "").encode())

    do_POST = do_GET  # noqa: N815


@pytest.fixture
def server() -> Iterator[str]:
    ASKED.clear()
    PAGES.clear()
    PAGES.update({"/set": "x", "/simple/pip/": link("/a.whl"), "/a.whl": "wheel", "/v1/querybatch": '{"results": []}'})
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def link(to: str) -> str:
    return f'<!DOCTYPE html><html><body><a data-x="1" href="{to}">x</a></body></html>'


def test_a_login_in_an_address_goes_to_its_host_alone_and_into_no_message(server: str) -> None:
    PAGES.update({"/simple/pip/": link("../../files/a&amp;b.whl#sha256=0"), "/files/a&b.whl": "wheel"})
    secret = server.replace("://", "://me:hunter%402@") + "/simple/"
    doctor.package_index(secret)
    login = f"Basic {base64.b64encode(b'me:hunter@2').decode()}"
    # A byte of the file is enough.
    assert [("/simple/pip/", "bytes=0-65535", login), ("/files/a&b.whl", "bytes=0-0", login)] == ASKED
    PAGES["/simple/pip/"] = link(f"{server.replace('127.0.0.1', 'localhost')}/b.whl?signature=hunter3")
    with pytest.raises(doctor.UnansweredError, match="404") as said:
        doctor.package_index(secret)
    assert "hunter" not in str(said.value)
    assert ASKED[-1] == ("/b.whl?signature=hunter3", "bytes=0-0", None)


SET, INDEX, SOURCE = "dataset-url", "package-index", "vulnerability-source"
# The option, its address, what stands there in place of what should, the state, and words of the line about it.
LINES: list[tuple[str, str, dict[str, str], str, str]] = [
    (SET, "SERVER/set", {}, "ok", "SERVER/set answers"),
    (SET, NOWHERE, {}, "FAILED", "refused (--dataset-url): name a mirror"),
    (SET, "not an address", {}, "FAILED", "unknown url type"),
    (SET, "", {}, "skipped", "no address is named (--dataset-url)"),
    (INDEX, "SERVER/simple", {}, "ok", "SERVER/simple answers"),
    (INDEX, "SERVER/simple", {"/simple/pip/": "<html>please log in</html>"}, "FAILED", "lists no file"),
    ("torch-index", NOWHERE, {}, "warning", "(--torch-index): KWS_TORCH_INDEX names another"),
    (SOURCE, "SERVER", {}, "ok", "SERVER answers"),
    (SOURCE, "SERVER", {"/v1/querybatch": '{"greeting": "hello"}'}, "FAILED", "does not answer as OSV"),
]


def test_a_line_a_check_whatever_failed(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    normal = PAGES.copy()
    for option, address, pages, state, said in LINES:
        PAGES.update(normal | pages)
        asked = {INDEX: "", "torch-index": "", SET: "", SOURCE: "", option: address.replace("SERVER", server)}
        monkeypatch.setattr("sys.argv", ["doctor", *(f"--{name}={url}" for name, url in asked.items())])
        assert doctor.main() == (3 if state == "FAILED" else 0)
        lines = capsys.readouterr().out.splitlines()
        found = {line[9:].partition(":")[0].replace(" ", "-"): line for line in lines}
        assert {name: line.split()[0] for name, line in found.items()} == dict.fromkeys(asked, "skipped") | {
            option: state
        }
        assert said.replace("SERVER", server) in found[option]
