"""Configuration: environment variables that start with `KWS_`, checked before anything starts."""

import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


class SettingsError(ValueError):
    """A setting has an impossible value; the message is one line that names the variable."""


def processors() -> int:
    """How many processors this process may use: by its affinity, and by the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no control groups; no quota ("max")
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def _setting(default: Any, read: Callable[[str], Any], **more: Any) -> Any:
    return field(default=default, metadata={"read": read, **more})


def _number(default: float, low: float, high: float) -> Any:
    """A whole number, or any where the default is none; both ends are allowed."""

    def read(text: str) -> float:
        with suppress(ValueError):
            if low <= (value := type(default)(text)) <= high:  # refuses nan too
                return value
        noun = "a whole number" if isinstance(default, int) else "a number"
        raise ValueError(f"must be {noun} from {low:.10g} to {high:.10g}")

    return _setting(default, read, ends=(low, high))


def _text(pattern: str, what: str) -> Callable[[str], str]:
    """A text of that form, without brackets (of an IPv6 address), in small letters."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text, re.IGNORECASE):
            raise ValueError(f"must be {what}")
        return text.lower().removeprefix("sha256:").strip("[]")

    return read


def read_digests(text: str) -> tuple[str, ...]:
    """SHA-256 digests, with comments from #. Raises ValueError without repeating the text, which may be a key."""
    plain = re.sub(r"#.*|  -$", "", text.removeprefix("\ufeff"), flags=re.MULTILINE)  # "  -": as sha256sum ends a line
    digests = tuple(word.lower().removeprefix("sha256:") for word in plain.replace(",", " ").split())
    if not digests or not all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests):
        raise ValueError("must hold SHA-256 digests of keys, 64 hexadecimal digits each, as sha256sum prints them")
    return digests


_DIGEST = _text(r"(sha256:)?[0-9a-f]{64}", "64 hexadecimal digits")
_HOST = _text(r"\*|\[[0-9a-f:.]+\]|[a-z0-9.:_-]+", "an address or a host name without a port, or * for every address")
_LEVEL = _text("debug|info|warning|error", "debug, info, warning or error")
_ORIGINS = _text(r"((\*|https?://[^/\s*,]+)[\s,]*)+", "origins as https://app.example, separated by commas, or *")
_RATE = _text(r"[1-9]\d*\s*(/|per)\s*([1-9]\d*\s*)?(second|minute|hour|day|month|year)s?", "as 100/minute")
_FLAG = _text("1|true|yes|on|0|false|no|off", "true or false")


@dataclass(frozen=True)
class Settings:
    """The service's settings; every field is the environment variable `KWS_` + its name in capitals."""

    model: Path = _setting(Path("artifacts/model/model.onnx"), Path)
    model_sha256: str = _setting("", _DIGEST)  # that the model file must have
    samples: Path = _setting(Path(__file__).with_name("samples"), lambda text: Path(text).resolve(strict=True))
    host: str = _setting("127.0.0.1", _HOST)
    port: int = _number(8000, 1, 65535)  # also PORT, as platforms give it
    workers: int = _number(2, 1, 64)  # by default a process for each of at most 8 processors
    max_upload_bytes: int = _number(16 * 1024 * 1024, 1024, 1 << 30)  # of a body, inflated
    max_seconds: float = _number(60.0, 0.1, 3600)  # of audio in a request
    max_header_bytes: int = _number(8190, 1024, 65_536)  # of one header
    max_headers: int = _number(100, 16, 1000)
    max_connections: int = _number(1000, 16, 100_000)  # of a process
    max_held_bytes: int = _number(128 * 1024 * 1024, 1024, 1 << 36)  # of all bodies in a process that are not answered
    queue: int = _number(64, 0, 10_000)  # uploads that wait in a process, and pages
    streams: int = _number(128, 0, 10_000)  # of live audio in a process
    request_timeout: int = _number(15, 1, 3600)  # seconds for a request's headers, and for its body
    api_keys: tuple[str, ...] = _setting((), read_digests)  # SHA-256 of the keys that may ask; none: everybody may
    api_keys_file: tuple[str, ...] = _setting((), lambda text: read_digests(Path(text).read_text()))  # further ones
    metrics_keys: tuple[str, ...] = _setting((), read_digests)  # of keys that may read /metrics and nothing else
    metrics_open: bool = _setting(False, lambda text: _FLAG(text) in ("1", "true", "yes", "on"))  # needs no key
    rate_limit: str = _setting("", _RATE)  # of one key, else of one address; each process counts for itself
    cors_origins: tuple[str, ...] = _setting((), lambda text: tuple(re.split(r"[\s,]+", _ORIGINS(text).strip(" ,"))))
    proxies: int = _number(0, 0, 8)  # trusted ones in front, whose X-Forwarded-For names the client
    timeout: int = _number(30, 5, 3600)  # seconds without a sign of life after which a worker is replaced
    graceful_timeout: int = _number(20, 3, 3600)  # seconds for what is under way at SIGTERM; gunicorn looks each second
    keepalive: int = _number(5, 0, 3600)  # seconds that an idle connection is kept
    log_level: str = _setting("info", _LEVEL)
    access_log: bool = _setting(True, lambda text: _FLAG(text) in ("1", "true", "yes", "on"))  # one line a request

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """The settings in `environ`, by default the process's; unset or empty is the default. Raises SettingsError."""
        values: dict[str, Any] = {"workers": min(8, processors())}
        for each in fields(cls):
            name = f"KWS_{each.name.upper()}"
            if each.name == "port" and not environ.get(name, "").strip():
                name = "PORT"
            if text := environ.get(name, "").strip():
                try:
                    values[each.name] = each.metadata["read"](text)
                except (ValueError, OSError) as error:
                    shown = "" if each.metadata["read"] is read_digests else f"={text!r}"
                    raise SettingsError(f"{name}{shown}: {error}") from None
        return cls(**values)
