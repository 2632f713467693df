"""Configuration: environment variables that start with `KWS_`, checked before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

PREFIX = "KWS_"
_SAMPLES = Path(__file__).with_name("samples")


class SettingsError(ValueError):
    """A setting has an impossible value; the message is one line that names the variable."""


@dataclass(frozen=True)
class Settings:
    """The service's settings; every field is the environment variable `KWS_` + its name in capitals."""

    model: Path = Path("artifacts/model/model.onnx")
    """The exported model."""
    model_sha256: str = ""
    """When given, the model file must have this SHA-256 (64 hexadecimal digits)."""
    samples: Path = _SAMPLES
    """Folder of recordings named for their words; most must be classified correctly before the service is ready."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """TCP port to listen on."""
    workers: int = 2
    """Processes."""
    threads: int = 4
    """Threads a process."""
    max_upload_bytes: int = 16 * 1024 * 1024
    """Largest request body, in bytes."""
    max_seconds: float = 60.0
    """Longest audio, in seconds."""
    queue: int = 64
    """Requests a process lets wait for a thread; further ones are answered 503 at once."""
    request_timeout: int = 15
    """Seconds within which a request's headers and body must have arrived, in total."""
    api_keys: tuple[str, ...] = ()
    """SHA-256 digests of the API keys that may ask (`python -m service.keys` makes one); none: everybody may."""
    api_keys_file: Path | None = None
    """File of such digests, one a line; # begins a comment. Together with `api_keys`."""
    rate_limit: str = ""
    """As `100/minute`: requests of one API key, else of one address; empty for no limit."""
    rate_limit_storage: str = "memory://"
    """Where the limit is counted, as the library limits names it; in memory each process counts for itself."""
    proxies: int = 0
    """Trusted reverse proxies in front, whose X-Forwarded-For names the client."""
    timeout: int = 30
    """Seconds after which a worker that gives no sign of life is replaced."""
    graceful_timeout: int = 20
    """Seconds that in-flight requests have after SIGTERM."""
    keepalive: int = 5
    """Seconds an idle connection is kept open."""
    log_level: str = "info"
    """debug, info, warning or error."""
    access_log: bool = True
    """One log line a request."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from `environ` (the process's by default); unset or empty means the default.

        Raises:
            SettingsError: a value cannot be read or is out of range.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for field in fields(cls):
            name = PREFIX + field.name.upper()
            text = environ.get(name, "").strip()
            if not text:
                continue
            try:
                values[field.name] = _READERS[field.name](text)
            except ValueError as error:
                shown = "" if field.name in _SECRET else f"={text!r}"
                raise SettingsError(f"{name}{shown}: {error}") from None
        return cls(**values)


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    noun = "a whole number" if kind is int else "a number"

    def read(text: str) -> float:
        message = f"must be {noun} from {low:g} to {high:g}"
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(message) from None
        if not low <= value <= high:  # also refuses nan
            raise ValueError(message)
        return value

    return read


def _flag(text: str) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    try:
        return words[text.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("must be debug, info, warning or error")
    return text.lower()


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]+", text):
        raise ValueError("must be an IP address or a host name, without a port")
    return text


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise ValueError("must be a folder")
    return Path(text)


def _sha256(text: str) -> str:
    digest = text.lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError("must be 64 hexadecimal digits")
    return digest


def read_digests(text: str) -> tuple[str, ...]:
    """SHA-256 digests separated by commas or white space, with comments from # to the line's end.

    Raises:
        ValueError: there are none, or what stands there is none; it is not repeated, it may be a key.
    """
    words = re.sub(r"#.*", "", text).replace(",", " ").split()
    digests = tuple(word.lower().removeprefix("sha256:") for word in words)
    if not digests or not all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests):
        raise ValueError("must hold SHA-256 digests of keys, 64 hexadecimal digits each (see python -m service.keys)")
    return digests


def _digest_file(text: str) -> Path:
    try:
        read_digests(Path(text).read_text())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return Path(text)


def _limit(text: str) -> str:
    import limits  # only where there is one

    try:
        limits.parse(text)
    except ValueError:
        raise ValueError("must be a number of requests and a time, as 100/minute") from None
    return text


def _storage(text: str) -> str:
    import limits

    try:
        limits.storage.storage_from_string(text)
    except Exception as error:  # a missing driver, a wrong address: as many kinds as storages
        raise ValueError(f"cannot be used: {str(error).strip().splitlines()[0]}") from None
    return text


_SECRET = {"api_keys", "rate_limit_storage"}
_READERS: dict[str, Callable[[str], Any]] = {
    "model": Path,
    "model_sha256": _sha256,
    "samples": _folder,
    "host": _host,
    "port": _number(int, 1, 65535),
    "workers": _number(int, 1, 64),
    "threads": _number(int, 1, 64),
    "max_upload_bytes": _number(int, 1024, 1 << 30),
    "max_seconds": _number(float, 0.1, 3600),
    "queue": _number(int, 0, 10_000),
    "request_timeout": _number(int, 1, 3600),
    "api_keys": read_digests,
    "api_keys_file": _digest_file,
    "rate_limit": _limit,
    "rate_limit_storage": _storage,
    "proxies": _number(int, 0, 8),
    "timeout": _number(int, 1, 3600),
    "graceful_timeout": _number(int, 1, 3600),
    "keepalive": _number(int, 0, 3600),
    "log_level": _level,
    "access_log": _flag,
}
