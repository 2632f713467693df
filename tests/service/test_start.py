"""Starting, reloading, readiness: wrong settings and models, what is imported, the health check, a hardened place."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from .server import COMMAND, LOCAL, ROOT, Make, Serve, Server, check, environment, free_port
from .tones import LABELS, METADATA, save_model, save_samples, wav

Run = subprocess.CompletedProcess[str]
SHIFTED = LABELS[1:] + LABELS[:1]  # right in form; only a recording with a known word can tell


def run(*command: str, cwd: Path = ROOT, **settings: object) -> Run:
    """Run a command with `settings`; it must end by itself."""
    env = environment(**({"port": free_port()} | settings))
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


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
def test_what_cannot_be_served_is_one_line(
    tone_model_path: Path, tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    (tmp_path / "broken.onnx").write_bytes(tone_model_path.read_bytes()[:-1_000])
    (save_samples(tmp_path / "samples") / "up.wav").write_text("no audio")
    given: dict[str, Any] = {name: text.format(tmp=tmp_path) for name, text in settings.items()}
    ended = run(*COMMAND, **({"model": tone_model_path} | given))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("service: ")
    assert ended.stderr.count("\n") == 1
    assert says.format(tmp=tmp_path) in ended.stderr


def test_python_m_service_takes_gunicorns_options(tone_model_path: Path) -> None:
    ended = run(*COMMAND, "--print-config", "--check-config", model=tone_model_path, keepalive=75)
    assert re.findall(r"^keepalive .*?(\d+)$", ended.stdout, re.MULTILINE) == ["75"], ended.stderr


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


@pytest.mark.parametrize(
    ("host", "asked"),
    [("*", ["127.0.0.1", "[::1]"]), ("[::1]", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"])],
)
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
    assert asker.post("/predict", wav("up")).status_code == status
    assert asker.get("/livez").status_code == 200


def test_a_reload_judges_the_new_model_first(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken, missing, failing on the samples: told, and the old one served on, also by a worker that is replaced."""
    (metrics := tmp_path / "metrics").mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(metrics))
    path = save_model(tmp_path / "model.onnx", METADATA | {"labels": json.dumps(SHIFTED)})
    failing, server = path.read_bytes(), serve(path, ready="/livez", workers=2)
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
    with Server(tmp_path, Path("/tmp/model.onnx"), command=command, samples="/tmp") as server:  # noqa: S108
        # Longer than what any layer keeps in memory by itself.
        form = {"file": ("yes.wav", wav("yes", 20.0, 44_100, 2))}
        assert httpx.post(f"{server.url}/predict", files=form, **LOCAL).json()["prediction"] == "yes"
        assert server.status("/metrics") == server.status("/") == 200
        assert server.stop() == 0
    assert not any(line["level"] in ("warning", "error", "critical") for line in server.log())
    assert set(scratch.iterdir()) == before
