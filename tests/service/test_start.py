"""Settings, starting, reloading, readiness: what is wrong, what is imported, the health check, a hardened place."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import settings as module
from service.settings import Settings, SettingsError, processors

from .server import COMMAND, DIGEST, LOCAL, ROOT, Make, Serve, Server, check, environment, free_port
from .tones import LABELS, METADATA, save_model, save_samples, wav

NUMBERS = {field.name: field.metadata["ends"] for field in fields(Settings) if "ends" in field.metadata}
V4, V6 = "127.0.0.1", "[::1]"
SHIFTED = LABELS[1:] + LABELS[:1]  # right in form; only a recording with a known word can tell


def test_values(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"\ufeff# one client\n{DIGEST}  # Ada\n")
    values: dict[str, tuple[str, Any]] = {
        "model_sha256": ("sha256:" + DIGEST.upper(), DIGEST),
        "host": ("[::1]", "::1"),
        "port": (" 9000 ", 9000),
        "max_seconds": ("2.5", 2.5),
        "log_level": ("DEBUG", "debug"),
        "metrics_open": ("on", True),
        "api_keys": (f"{DIGEST}, sha256:{DIGEST.upper()}", (DIGEST, DIGEST)),
        "api_keys_file": (str(tmp_path / "keys"), (DIGEST,)),
        "cors_origins": ("https://a.example, http://[::1]:3000", ("https://a.example", "http://[::1]:3000")),
        "workers": ("3", 3),
    }
    environ = {f"KWS_{name.upper()}": text for name, (text, _) in values.items()}
    expected = Settings(**{name: value for name, (_, value) in values.items()})
    assert Settings.from_env(environ | {"PORT": "1", "KWS_OF_ANOTHER_PROGRAM": "x"}) == expected
    assert Settings.from_env({"PORT": "8080"}).port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("KWS_PORT", text) for text in ("http", "80.5")),
        ("PORT", "tcp://10.0.0.1:80"),
        *(("KWS_HOST", text) for text in ("127.0.0.1 x", "http://a", "[::1]:80")),
        *((f"KWS_{name}", text) for name in ("WORKERS", "MAX_SECONDS") for text in ("two", "nan", "inf")),
        ("KWS_LOG_LEVEL", "loud"),
        ("KWS_ACCESS_LOG", "perhaps"),
        ("KWS_MODEL_SHA256", "abc"),
        *(("KWS_CORS_ORIGINS", text) for text in ("app.example", "https://app.example/page")),
        *(("KWS_RATE_LIMIT", text) for text in ("often", "0/minute", "100")),
        *(("KWS_" + name.upper(), str(low - 1)) for name, (low, _) in NUMBERS.items()),
        *(("KWS_" + name.upper(), str(high + 1)) for name, (_, high) in NUMBERS.items()),
        *((f"KWS_{kind}_KEYS", "my-secret-key") for kind in ("API", "METRICS")),
        *(("KWS_API_KEYS", f"{start}my-secret-key") for start in (f"{DIGEST},", "# nobody yet ")),
        *(("KWS_API_KEYS_FILE", path) for path in ("/does/not/exist", __file__)),
        ("KWS_SAMPLES", "my-own"),
    ],
)
def test_a_wrong_value_names_itself_and_no_secret(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=r"^[^\n]*$") as caught:
        Settings.from_env({name: value})
    assert str(caught.value).startswith(name if "_KEYS" in name or "SAMPLES" in name else f"{name}={value!r}: must be ")
    assert "my-secret-key" not in str(caught.value)


@pytest.mark.parametrize("end", [0, 1])
def test_both_ends_of_each_number_serve(serve: Serve, end: int) -> None:
    """All of them at once: a server that answers, also over the same connection where it keeps one, and stops."""
    ends = {name: both[end] for name, both in NUMBERS.items() if name != "port"} | {"workers": 1 + end}
    server = serve(**ends)
    with httpx.Client(base_url=server.url, **LOCAL) as http:
        for _ in range(3):
            assert http.post("/predict", content=wav("up", 0.03)).json()["prediction"] == "up"
    assert server.stop() == 0
    assert [line for line in server.log() if line["level"] in ("warning", "error", "critical")] == []


def test_a_quota_counts_as_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "Path", lambda path: tmp_path / path.removeprefix("/sys/fs/cgroup/"))
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(4)))
    assert processors() == 4
    for quota, count in {"max 100000": 4, "50000 100000": 1, "150000 100000": 2, "900000 1": 4, "x": 4}.items():
        (tmp_path / "cpu.max").write_text(quota + "\n")
        assert processors() == count


def test_the_table_in_the_documentation_is_whole() -> None:
    told: dict[str, str] = {}
    for row in re.findall(r"^\| `KWS_.*", (ROOT / "docs" / "service.md").read_text(), re.MULTILINE):
        names, defaults = (re.findall("`([^`]*)`", cell) for cell in row.split("|")[1:3])
        told |= dict(zip_longest(names, defaults, fillvalue=""))
    assert set(told) == {f"KWS_{field.name.upper()}" for field in fields(Settings)}
    assert Settings.from_env(told) == Settings.from_env({})


def run(*command: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command with `settings`; it must end by itself."""
    env = environment(**({"port": free_port()} | settings))
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"workers": "many"}, "KWS_WORKERS='many': must be a whole number from 1 to 64"),
        ({"model": "{tmp}/none.onnx"}, "model '{tmp}/none.onnx' does not exist"),
        ({"model": "{tmp}/broken.onnx"}, "model '{tmp}/broken.onnx' cannot be used"),
        ({"model_sha256": "0" * 64}, "has the SHA-256 "),
        ({"samples": "{tmp}/samples"}, "KWS_SAMPLES: {tmp}/samples/up.wav: "),
    ],
)
def test_what_cannot_be_served_is_one_line(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    model = save_model(tmp_path / "model.onnx")
    (tmp_path / "broken.onnx").write_bytes(model.read_bytes()[:-1_000])
    (save_samples(tmp_path / "samples") / "up.wav").write_text("no audio")
    given = {name: text.format(tmp=tmp_path) for name, text in settings.items()}
    ended = run(*COMMAND, **({"model": model} | given))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("service: ")
    assert ended.stderr.count("\n") == 1
    assert says.format(tmp=tmp_path) in ended.stderr


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        # Workers that inherit ONNX Runtime abort or hang at their end: the main process must not import it.
        ("service.app, service.connections, service.logs", {"onnxruntime", "model", "torch"}),
        ("service.app, kws.detection, onnxruntime", {"model", "torch", "onnx", "scipy", "httpx", "typer"}),
        ("service.test_client", {"flask", "gunicorn", "numpy", "onnxruntime"}),
        ("service.healthcheck", {"flask", "http", "urllib", "ssl", "email"}),
    ],
)
def test_what_is_not_imported(modules: str, absent: set[str]) -> None:
    ended = run(sys.executable, "-c", f"import sys, {modules}; print(*sys.modules)")
    assert ended.returncode == 0, ended.stderr
    assert not absent & set(ended.stdout.split())


@pytest.mark.parametrize(("host", "asked"), [("*", [V4, V6]), ("[::1]", [V6]), ("::", [V6, V4]), ("0.0.0.0", [V4])])
def test_addresses_and_the_health_check(serve: Serve, host: str, asked: list[str]) -> None:
    server, check = serve(host=host), [sys.executable, "-m", "service.healthcheck"]
    for address in asked:
        assert httpx.get(f"http://{address}:{server.port}/readyz", **LOCAL).status_code == 200
    assert run(*check, host=host, port=server.port).returncode == 0
    server.stop()
    refused = run(*check, host=host, port=server.port)
    assert refused.returncode == 1
    assert refused.stderr.startswith("healthcheck: ")
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("labels", "status", "says"),
    [
        (LABELS, 200, "4 of 4 samples classified correctly."),
        # More than half must be right.
        (SHIFTED, 503, "0 of 4 samples classified correctly; down.wav was heard as"),
        (["no", "down", "yes", "up"], 503, "2 of 4 samples"),
        (["up", "go", "stop", "no"], 200, "2 of 2 samples"),
        (["go", "stop", "left", "right"], 200, "only the form"),
        (None, 503, "The model is not loaded."),
    ],
)
def test_ready_means_that_the_samples_are_right(client: Make, labels: list[str] | None, status: int, says: str) -> None:
    asker = client({"labels": json.dumps(labels or LABELS)})
    if labels is None:
        asker.service.state.loaded = None
    answer = asker.get("/readyz")
    check(answer, "not-ready" if status == 503 else 200, says)
    assert answer.headers.get("Retry-After", "1") == "1"
    assert asker.post("/predict", content=wav("up")).status_code == status
    assert asker.get("/livez").status_code == 200


def test_a_reload_judges_the_new_model_first(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken, missing, failing on the samples: told, and the old one served on, also by a worker that is replaced."""
    (metrics := tmp_path / "metrics").mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(metrics))
    path = save_model(tmp_path / "model.onnx", METADATA | {"labels": json.dumps(SHIFTED)})
    failing, server = path.read_bytes(), serve(model=path, ready="/livez", workers=2)
    # At its start it stays up without being ready, and says why.
    assert "up.wav was heard as 'down'" in httpx.get(f"{server.url}/readyz", **LOCAL).json()["detail"]
    assert server.messages("not ready: 0 of 4 samples")
    old = save_model(path).read_bytes()
    server.reload()
    server.until(lambda: server.status("/readyz") == 200)
    workers = server.workers()
    for count, content in enumerate((b"no model", None, failing, old[:-500]), 1):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: len(server.messages("not reloaded")) == count)  # noqa: B023
    assert "0 of 4 samples" in server.messages("not reloaded")[2]
    assert server.workers() == workers
    server.kill_one()
    assert {server.predict(wav("up")).json()["model_version"] for _ in range(8)} == {METADATA["model_version"]}
    digest = hashlib.sha256(save_model(path, METADATA | {"model_version": "new"}).read_bytes()).hexdigest()
    server.reload()
    server.until(lambda: server.predict(wav("up")).json()["model_version"] == "new")
    found, files = server.metrics(), len(list(metrics.iterdir()))
    models = [name for name in found if name.startswith("kws_model_info")]
    assert models == [f'kws_model_info{{revision="",sha256="{digest}",version="new"}}']
    assert found['kws_requests_total{endpoint="predict.predict",status="200"}'] > 8  # counts outlive workers
    for _ in range(2):
        server.reload()
    assert len(list(metrics.iterdir())) <= files + 8  # those of a place or two, not of every worker


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_what_stops_it_while_a_worker_starts(serve: Serve, tmp_path: Path, number: int) -> None:
    """As Ctrl-C does, to both processes. A worker that missed it would be killed after the grace time."""
    os.mkfifo(pipe := tmp_path / "yes.wav")
    server = serve(ready="", samples=tmp_path, graceful_timeout=3)
    pipe.write_bytes(wav("yes"))  # for the process that judges the model
    server.until(lambda: server.messages("Booting worker"))
    with pipe.open("wb"):  # when the worker waits for what nobody writes
        for process in (*server.workers(), server.process.pid):
            os.kill(process, number)
        assert server.process.wait(60) == 0
    assert "was sent" not in server.stderr()


CONFINED = ["unshare", "--user", "--map-user=10001", "--map-group=10001", "--mount", "--keep-caps", "sh", "-ec"]
CONFINED += [
    'mount --bind "$0" /tmp; mount -t tmpfs tmpfs /dev/shm; mount -o remount,bind,ro /; '
    'exec setpriv --no-new-privs --ambient-caps=-all --inh-caps=-all --bounding-set=-all "$@"'
]


def test_it_serves_confined_and_leaves_nothing(tmp_path: Path, tone_model_path: Path) -> None:
    """As docs/service.md runs the image: a read-only root, no privileges, /tmp alone to write to."""
    if any(needed.is_relative_to("/tmp") for needed in (Path.cwd(), Path(sys.executable))):  # noqa: S108
        pytest.skip("this tree or its Python lies below /tmp, which the confined process has for itself: not run")
    scratch = save_samples(tmp_path / "tmp")  # what the confined process sees as /tmp
    shutil.copy(tone_model_path, scratch / "model.onnx")
    before, confined = set(scratch.iterdir()), [*CONFINED, str(scratch)]
    trial = subprocess.run([*confined, "touch", "/file"], capture_output=True, text=True, check=False)
    if "Read-only file system" not in trial.stderr:
        pytest.skip(f"no user namespaces here: {trial.stderr.strip()}")
    # A home that can be written: nothing may be left there either (ONNX Runtime's telemetry would).
    command = [*confined, "env", "HOME=/tmp", *COMMAND]
    with Server(tmp_path, model="/tmp/model.onnx", command=command, samples="/tmp") as server:  # noqa: S108
        # Longer than what any layer keeps in memory by itself.
        form = {"file": ("yes.wav", wav("yes", 20.0, 44_100, 2))}
        assert httpx.post(f"{server.url}/predict", files=form, **LOCAL).json()["prediction"] == "yes"
        assert server.status("/metrics") == server.status("/") == 200
        assert server.stop() == 0
    assert [line for line in server.log() if line["level"] in ("warning", "error", "critical")] == []
    assert set(scratch.iterdir()) == before
