"""The bytes of whatever libsndfile reads, to the end of what is there, whatever length a header states -> the waveform
that a model takes: mono, one sample rate, float32 at full scale 1."""

import io
import re
import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Waveform = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000
MAX_SECONDS = 600.0
MIN_RATE, MAX_RATE = 1_000, 384_000
MAX_SAMPLES_PER_SECOND = 8 * 48_000  # of all channels: as many as eight have at 48 kHz
MAX_AMPLITUDE = 16.0  # floats may exceed full scale somewhat; integers stored as floats are a mistake
SILENT_DBFS = -60.0  # root mean square over a clip; a whisper beside the microphone is near -50
_BLOCK_SAMPLES = 1 << 18
_CANCELLED = 0.01  # of the first channel's power: channels that do not cancel each other have more on average

CONVERT = "convert it with `ffmpeg -i IN -ar 16000 -ac 1 OUT.wav`"
_OTHER_KINDS = {  # that libsndfile does not read, by their first bytes
    rb"....ftyp": "MP4, M4A, 3GP or QuickTime",
    rb"\xff[\xf0\xf1\xf8\xf9]": "AAC (ADTS)",
    rb"\x1a\x45\xdf\xa3": "WebM or Matroska",
    rb"#!AMR": "AMR",
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "Windows Media",
    rb"\x1f\x8b": "gzip'd data",
    rb"PK\x03\x04": "a ZIP archive",
    rb"version https://git-lfs": "a Git LFS pointer in place of the recording",
    rb"\s*<": "HTML or XML",
    rb"\s*\{": "JSON",
}
_W64 = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # how its data chunk begins
_UNSTATED = {  # how writers into a pipe state a length that they do not know, and what libsndfile takes for one
    **dict.fromkeys((b"RIFF", b"RIFX"), (b"data" + bytes(4), b"data" + b"\xff" * 4)),
    b"RF64": (b"ds64\x1c\0\0\0" + bytes(16), b"ds64\x1c\0\0\0" + b"\0\0\0\0\0\1\0\0" * 2),
    b"riff": (_W64 + b"\xff" * 7 + b"\x7f", _W64 + bytes(8)),
}


class AudioError(Exception):
    """Bytes that give no waveform. ``detail`` is one sentence, ``kind`` is not-audio, audio-rate, audio-too-long,
    audio-empty, audio-samples or audio-corrupt."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


class Audio(NamedTuple):
    """A decoded file."""

    waveform: Waveform  # float32[samples], mono, at the sample rate asked for
    seconds: float
    sample_rate: int  # of the file, Hz
    channels: int  # of the file
    format: str  # of the file, as libsndfile calls it


def decode(data: bytes, sample_rate: int = SAMPLE_RATE, max_seconds: float = MAX_SECONDS) -> Audio:
    """The bytes of a file, mixed to mono (mean of the channels) and resampled to ``sample_rate`` Hz.

    Raises AudioError where they give no waveform of at most ``max_seconds``.
    """
    plain = _plain_wav(data, sample_rate)
    if plain is not None and len(plain) <= max_seconds * sample_rate:
        return Audio(plain, len(plain) / sample_rate, sample_rate, 1, "WAV")
    with _open(data) as file:
        rate, channels = file.samplerate, file.channels
        if not MIN_RATE <= rate <= MAX_RATE:
            raise AudioError("audio-rate", f"The sample rate is {rate} Hz; {MIN_RATE} to {MAX_RATE} Hz are accepted.")
        limit = int(max_seconds * min(rate, MAX_SAMPLES_PER_SECOND / channels))
        stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, "float32", "HQ")
        pieces, frames, at_once, last = [], 0, max(1, _BLOCK_SAMPLES // channels), False
        while not last:
            try:
                block = file.read(at_once, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                raise AudioError("audio-corrupt", f"Decoding fails after {frames} frames.") from None
            last = len(block) < at_once
            frames += len(block)
            if frames > limit:
                raise AudioError("audio-too-long", f"{channels} channels at {rate} Hz may last {limit / rate:.6g} s.")
            if len(block) and not np.abs(block).max() <= MAX_AMPLITUDE:  # NaN compares false
                raise AudioError("audio-samples", f"A sample is no number or over ±{MAX_AMPLITUDE:g} times full scale.")
            mixed, first = block.mean(axis=1, dtype=np.float32), np.ascontiguousarray(block[:, 0])
            if np.dot(mixed, mixed) < _CANCELLED * np.dot(first, first):
                mixed = first
            pieces.append(stream.resample_chunk(mixed, last) if stream else mixed)
    if frames == 0:
        raise AudioError("audio-empty", "The file has a header but no samples.")
    return Audio(np.concatenate(pieces), frames / rate, rate, channels, file.format)


def media_kind(data: bytes) -> str:
    """What bytes are that libsndfile does not read, by the first of them; empty where they tell nothing."""
    return next((kind for first, kind in _OTHER_KINDS.items() if re.match(first, data[:64], re.DOTALL)), "")


class _Bytes(io.BytesIO):
    """Bytes whose ``seek`` never raises: libsndfile calls it from C, with offsets taken from the file."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _plain_wav(data: bytes, sample_rate: int) -> Waveform | None:
    """The samples of 16-bit mono PCM at the wanted rate, ten times as fast as libsndfile; None of any other file."""
    size = len(data) - 44
    if not 0 < size < 1 << 31 or size % 2:
        return None
    form = (b"RIFF", size + 36, b"WAVEfmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16, b"data", size)
    is_plain = data[:44] == struct.pack("<4sI8sIHHIIHH4sI", *form)
    return np.frombuffer(data, "<i2", offset=44) * np.float32(1 / 32_768) if is_plain else None


def _open(data: bytes) -> soundfile.SoundFile:
    """The file that the bytes are, given a header that libsndfile takes. Raises AudioError."""
    if not data:
        raise AudioError("audio-empty", "The file is empty.")
    data = b"RF64" + data[4:] if data[:4] == b"BW64" else data  # ITU-R BS.2088: RF64 under another name
    data = data.replace(*_UNSTATED.get(data[:4], (b"", b"")), 1)
    size = len(data) - (start := data.find(b"data") + 12)  # of a CAF's samples, which libsndfile wants to be true
    if data[:4] == b"caff" and size > 0 and not 0 < int.from_bytes(data[start - 8 : start]) <= size:
        data = data[: start - 8] + size.to_bytes(8) + data[start:]
    try:
        file = soundfile.SoundFile(_Bytes(data))
    except (soundfile.LibsndfileError, ValueError, TypeError):
        kind = media_kind(data)
        detail = f"The file is {kind}, which is not read here; {CONVERT}." if kind else "The file is no audio."
        raise AudioError("not-audio", detail) from None
    file.seekable = lambda: False  # soundfile seeks in others while it reads, which fails where no length is stated
    return file
