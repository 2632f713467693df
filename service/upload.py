"""What a request's body holds: inflated, taken out of its form, JSON or `data:` address, raw samples given a header."""

import base64
import gzip
import io
import json
import re
import zlib
from itertools import takewhile

import numpy as np
import soundfile
from werkzeug.http import parse_options_header

from service.problems import Problem

MAX_PARTS = 16
_PCM = {"audio/l16": ">i2", "audio/pcm": "<i2", "audio/x-pcm": "<i2"}  # RFC 2586: L16 is big-endian
_BASE64_ALPHABET = str.maketrans("-_", "+/", " \t\r\n")
# The head of a part whose parameter `name` is file; those before it are stepped over, quoted or not, and never again.
_BEFORE_NAME = rb'(?:; *+(?!name=)[^=; \r]++=(?:"(?:[^"\\\r]|\\.)*+"|[^;"\r]*+))*+'
_FILE_PART = re.compile(
    rb"\r\nContent-Disposition: *+form-data" + _BEFORE_NAME + rb'; *+name=("file"|file)[ ;\r]', re.IGNORECASE
)


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding. Raises Problem, after `limit` bytes: a bomb costs little."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip", "deflate"):
        accepted = ("Accept-Encoding", "gzip, deflate")
        raise Problem("content-encoding", f"The Content-Encoding is {encoding[:80]!r}.", accepted)
    try:
        if name == "deflate":
            raw = body[:1] and body[0] & 0x0F != 8  # without zlib's header, as some send it
            decoder = zlib.decompressobj(-15 if raw else 15)
            found = decoder.decompress(body, limit + 1)
            if len(found) <= limit and not decoder.eof:
                raise EOFError("it is cut off")
        else:
            found = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Problem("bad-request", f"The body is not {name}: {error}.") from None
    if len(found) > limit:
        raise Problem("too-large", f"A request may have at most {limit} bytes, inflated.")
    return found


def audio_file(body: bytes, content_type: str) -> bytes:
    """The bytes of the one audio file in `body`. Raises Problem."""
    kind = content_type[:19].lower()
    if kind == "multipart/form-data":
        body = _form_file(body, content_type)
    elif kind.startswith("audio/"):
        body = _with_header(body, content_type)
    if body[:1] == b"{" or body[:5] == b"data:":
        body = _base64_file(body)
    if not body:
        raise Problem("nothing-uploaded", "The request holds no audio.")
    return body


def _form_file(body: bytes, content_type: str) -> bytes:
    """The part `file` of a form, with a file name or without. Werkzeug's parser takes many times as long."""
    boundary = parse_options_header(content_type)[1].get("boundary", "").encode("latin-1", "replace")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary, MAX_PARTS + 1)
    ended = boundary and any(part.startswith(b"--") for part in parts)
    if len(parts) > MAX_PARTS and not ended:
        raise Problem("too-large", f"The form has more than {MAX_PARTS} parts.")
    whole = takewhile(lambda part: not part.startswith(b"--"), parts if ended else [])
    heads = (part.partition(b"\r\n\r\n") for part in whole)
    found = [data for head, _, data in heads if _FILE_PART.search(head + b"\r")]
    if len(found) > 1:
        raise Problem("several-files", f"The form has {len(found)} fields 'file'.")
    if not found:
        raise Problem("nothing-uploaded", "The form has no file field 'file', or is cut off.")
    return found[0]


def _base64_file(body: bytes) -> bytes:
    """What a `data:` address holds, or the member `audio` of a JSON object: base64, or such an address."""
    try:
        text = json.loads(body).get("audio") if body[:1] == b"{" else body.decode("latin-1")
    except (ValueError, RecursionError):
        raise Problem("not-audio", "The body begins as JSON and is none.") from None
    if not isinstance(text, str):
        raise Problem("nothing-uploaded", "The JSON object has no member 'audio' with the file in base64.")
    text = (text.partition(",")[2] if text.startswith("data:") else text).translate(_BASE64_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise Problem("bad-request", "The audio is not base64.") from None


def _with_header(body: bytes, content_type: str) -> bytes:
    """A WAV of the raw samples that the media type tells of (`audio/L16;rate=16000;channels=1`), or the body."""
    kind, options = parse_options_header(content_type)
    if kind.lower() not in _PCM or body[:4] in (b"RIFF", b"FORM", b"fLaC", b"OggS"):
        return body
    rate, channels = options.get("rate", ""), options.get("channels", "1")
    if not re.fullmatch(r"[1-9]\d{3,5}", rate) or not re.fullmatch(r"[1-9]\d?", channels):
        raise Problem("bad-request", f"Raw samples need their rate in Content-Type: {kind};rate=16000.")
    if len(body) % (2 * int(channels)):
        raise Problem("bad-request", f"The {len(body)} bytes are no whole number of samples of all channels.")
    samples = np.frombuffer(body, _PCM[kind.lower()]).astype(np.int16).reshape(-1, int(channels))
    soundfile.write(file := io.BytesIO(), samples, int(rate), format="WAV")
    return file.getvalue()
