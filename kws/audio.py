"""The bytes of an audio file -> the waveform that a model takes: mono, one sample rate, float32 at full scale 1.

The one decoder of trainer, evaluation and service. It reads whatever libsndfile reads, by content, in blocks, and
believes no length that a header states: it reads to the end of what is there, and no farther than ``max_seconds``.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any

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

# The names that libsndfile's formats go by.
AUDIO_SUFFIXES = frozenset(f".{name.lower()}" for name in soundfile.available_formats()).union(
    (".wave", ".oga", ".opus", ".aif", ".aifc", ".snd", ".bw64", ".mp2", ".sph")
) - {".raw", ".mat4", ".mat5"}
CONVERT = "convert it with `ffmpeg -i IN -ar 16000 -ac 1 OUT.wav`"
_FIRST_BYTES = {
    b"\x1a\x45\xdf\xa3": "WebM or Matroska",
    b"#!AMR": "AMR",
    b"ADIF": "AAC (ADIF)",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "Windows Media",
    b"wvpk": "WavPack",
    b"MAC ": "Monkey's Audio",
    b"DSD ": "DSF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip'd data",
    b"\x89PNG": "a PNG picture",
    b"%PDF": "a PDF document",
    b"version https://git-lfs": "a Git LFS pointer in place of the recording",
    b"<": "HTML or XML",
    b"{": "JSON",
}


class AudioError(Exception):
    """Bytes that give no waveform; the message is one sentence.

    ``kind`` is not-audio, audio-rate, audio-too-long, audio-empty, audio-samples or audio-corrupt.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class Audio:
    """A decoded file."""

    waveform: Waveform  # float32[samples], mono, at the sample rate asked for
    seconds: float
    sample_rate: int  # of the file, Hz
    channels: int  # of the file
    format: str  # of the file, as libsndfile calls it


def decode(data: bytes, sample_rate: int = SAMPLE_RATE, max_seconds: float = MAX_SECONDS) -> Audio:
    """Decode the bytes of a file, mix it to mono (mean of the channels) and resample it to ``sample_rate`` Hz.

    Raises:
        AudioError: they give no waveform of at most ``max_seconds``.
    """
    plain = _plain_wav(data, sample_rate)
    if plain is not None and len(plain) <= max_seconds * sample_rate:
        return Audio(plain, len(plain) / sample_rate, sample_rate, 1, "WAV")
    try:
        file = _File(_Bytes(_repaired(data)))
    except (soundfile.LibsndfileError, ValueError, TypeError):
        if not data:
            raise AudioError("audio-empty", "The file is empty.") from None
        kind = media_kind(data)
        detail = f"The file is {kind}, which is not read here; {CONVERT}." if kind else "The file is no audio."
        raise AudioError("not-audio", detail) from None
    with file:
        rate, channels = file.samplerate, file.channels
        if not MIN_RATE <= rate <= MAX_RATE:
            raise AudioError("audio-rate", f"The sample rate is {rate} Hz; {MIN_RATE} to {MAX_RATE} Hz are accepted.")
        waveform, frames = _read(file, sample_rate, max_seconds)
    if frames == 0:
        raise AudioError("audio-empty", "The file has a header but no samples.")
    return Audio(waveform, frames / rate, rate, channels, file.format)


def media_kind(data: bytes) -> str:
    """What bytes are that libsndfile does not read, by the first of them; empty where they tell nothing."""
    if data[4:8] == b"ftyp":
        return "3GP" if data[8:10] == b"3g" else "QuickTime" if data[8:10] == b"qt" else "MP4 or M4A"
    if len(data) > 2 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return "AAC (ADTS)"
    return next((kind for first, kind in _FIRST_BYTES.items() if data[:64].lstrip().startswith(first)), "")


def rms(waveform: npt.NDArray[np.floating[Any]]) -> float:
    """The root mean square of float[samples]; 0 where there are none."""
    return float(np.sqrt(np.mean(waveform.astype(np.float64) ** 2))) if waveform.size else 0.0


class _Bytes(io.BytesIO):
    """Bytes whose ``seek`` never raises: libsndfile calls it from C, with offsets taken from the file."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _File(soundfile.SoundFile):
    """Read from its beginning to its end: soundfile seeks in others, which fails where no length is stated."""

    def seekable(self) -> bool:
        return False


_PLAIN_WAV = struct.Struct("<4sI8sIHHIIHH4sI")


def _plain_wav(data: bytes, sample_rate: int) -> Waveform | None:
    """The samples of the one kind of file that most clients send, or None for any other.

    16-bit mono PCM at the wanted rate, with the 44-byte header of which every field is as it must be. Ten times as
    fast as libsndfile, sample for sample the same.
    """
    size = len(data) - _PLAIN_WAV.size
    if size <= 0 or size % 2:
        return None
    header = (b"RIFF", size + 36, b"WAVEfmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16, b"data", size)
    if _PLAIN_WAV.unpack_from(data) != header:
        return None
    return np.frombuffer(data, "<i2", offset=_PLAIN_WAV.size) * np.float32(1 / 32_768)


def _repaired(data: bytes) -> bytes:
    """The same file, with a header that libsndfile takes.

    BW64 (ITU-R BS.2088) is RF64 under another name. A WAV that was written into a pipe may state that its samples take
    0 bytes: they reach to the end.
    """
    if data[:4] == b"BW64":
        return b"RF64" + data[4:]
    size = {b"RIFF": struct.Struct("<I"), b"RIFX": struct.Struct(">I")}.get(data[:4])
    place = 12
    while size is not None and data[8:12] == b"WAVE" and place + 8 < len(data):
        (stated,) = size.unpack_from(data, place + 4)
        if data[place : place + 4] == b"data":
            if stated:
                break
            rest = size.pack(len(data) - place - 8)
            return data[:4] + size.pack(len(data) - 8) + data[8 : place + 4] + rest + data[place + 8 :]
        place += 8 + stated + stated % 2
    return data


def _read(file: soundfile.SoundFile, sample_rate: int, max_seconds: float) -> tuple[Waveform, int]:
    """The mono waveform at ``sample_rate``, and the number of frames of the file."""
    rate, channels = file.samplerate, file.channels
    limit = int(max_seconds * min(rate, MAX_SAMPLES_PER_SECOND / channels))
    block_frames = max(1, _BLOCK_SAMPLES // channels)
    mixed = 1 if channels == 1 else 2  # beside the mean the first channel, in case that the others cancel it
    stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, mixed, "float32", "HQ")
    pieces: list[npt.NDArray[np.float32]] = []
    frames, last = 0, False
    while not last:
        try:
            block = file.read(block_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            raise AudioError("audio-corrupt", f"Decoding fails after {frames} frames.") from None
        last = len(block) < block_frames
        frames += len(block)
        if frames > limit:
            detail = f"With {channels} channels at {rate} Hz at most {limit / rate:.6g} s are accepted."
            raise AudioError("audio-too-long", detail)
        if len(block) and not np.abs(block).max() <= MAX_AMPLITUDE:  # NaN compares false
            raise AudioError("audio-samples", f"A sample is no number or over ±{MAX_AMPLITUDE:g} times full scale.")
        if channels > 1:
            block = np.stack([block.mean(axis=1, dtype=np.float32), block[:, 0]], axis=1)
        pieces.append(block if stream is None else stream.resample_chunk(block, last).reshape(-1, mixed))
    whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    mean, first = whole[:, 0], whole[:, -1]
    cancelled = channels > 1 and np.dot(mean, mean) < _CANCELLED * np.dot(first, first)
    return np.ascontiguousarray(first if cancelled else mean), frames
