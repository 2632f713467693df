"""From uploaded bytes to the waveform the model takes: mono, one sample rate, float32 at full scale ±1."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from .problems import Problem

# libsndfile reads some twenty more formats; what nobody sends is only surface for attack.
FORMATS = {"WAV": "WAV", "WAVEX": "WAV", "RF64": "WAV", "FLAC": "FLAC", "OGG": "Ogg", "MP3": "MP3"}
MIN_RATE, MAX_RATE = 1_000, 384_000
# Decoding costs time for every channel's samples: as many as eight channels at 48 kHz have, per second.
MAX_SAMPLES_PER_SECOND = 8 * 48_000
# Floats may exceed full scale somewhat; a file on the scale of integers is a mistake of its sender.
MAX_AMPLITUDE = 16.0
_BLOCK_SAMPLES = 1 << 18

Waveform = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Audio:
    """A decoded upload.

    Attributes:
        waveform: float32[samples], mono at the sample rate asked for.
        seconds: duration.
        sample_rate: of the upload, Hz.
        channels: of the upload.
        format: container of the upload.
    """

    waveform: Waveform
    seconds: float
    sample_rate: int
    channels: int
    format: str


class _Upload(io.BytesIO):
    """Bytes whose `seek` never raises: libsndfile calls it from C, with offsets taken from the file."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def decode(data: bytes, sample_rate: int, max_seconds: float) -> Audio:
    """Decode an audio file, mix it to mono (mean of the channels) and resample it.

    The header is judged before any sample is decoded, and samples are decoded block by block, so that a
    small file which claims or holds hours of audio costs neither time nor memory.

    Args:
        data: WAV, FLAC, Ogg (Vorbis, Opus) or MP3; recognised by content.
        sample_rate: wanted, Hz.
        max_seconds: longest duration accepted.

    Raises:
        Problem: not-audio, audio-rate, audio-too-long, audio-empty, audio-samples or audio-corrupt.
    """
    plain = _plain_wav(data, sample_rate)
    if plain is not None and len(plain) <= max_seconds * sample_rate:
        return Audio(plain, len(plain) / sample_rate, sample_rate, 1, "WAV")
    try:
        file = soundfile.SoundFile(_Upload(data))
    except (soundfile.LibsndfileError, ValueError, TypeError):
        raise Problem("not-audio", f"The {len(data)} bytes are not an audio file.") from None
    with file:
        if file.format not in FORMATS:
            raise Problem("not-audio", f"The upload is a {file.format} file, which is not supported.")
        rate, channels = file.samplerate, file.channels
        if not MIN_RATE <= rate <= MAX_RATE:
            raise Problem("audio-rate", f"The sample rate is {rate} Hz; from {MIN_RATE} to {MAX_RATE} Hz are accepted.")
        limit = int(min(max_seconds * rate, max_seconds * MAX_SAMPLES_PER_SECOND / channels))
        if file.frames > limit:
            raise _too_long(file.frames / rate, rate, channels, max_seconds)
        waveform, frames = _read(file, sample_rate, limit, max_seconds)
    if frames == 0:
        raise Problem("audio-empty", "The file has a header but no samples.")
    return Audio(waveform, frames / rate, rate, channels, FORMATS[file.format])


_PLAIN_WAV = struct.Struct("<4sI8sIHHIIHH4sI")


def _plain_wav(data: bytes, sample_rate: int) -> Waveform | None:
    """The samples of the one kind of file that most clients send, or None for any other.

    16-bit mono PCM at the wanted rate, with the 44-byte header of which every field is as it must be. Ten times as
    fast as libsndfile, sample for sample the same.
    """
    if len(data) <= _PLAIN_WAV.size or len(data) % 2:
        return None
    size = len(data) - _PLAIN_WAV.size
    header = (b"RIFF", size + 36, b"WAVEfmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16, b"data", size)
    if _PLAIN_WAV.unpack_from(data) != header:
        return None
    return np.frombuffer(data, "<i2", offset=_PLAIN_WAV.size) * np.float32(1 / 32_768)


def _too_long(seconds: float, rate: int, channels: int, max_seconds: float) -> Problem:
    detail = f"The audio lasts {seconds:.1f} s; at most {max_seconds:g} s are accepted"
    if seconds <= max_seconds:
        most = max_seconds * MAX_SAMPLES_PER_SECOND / channels / rate
        detail = f"With {channels} channels at {rate} Hz at most {most:.1f} s are accepted"
    return Problem("audio-too-long", detail + ".")


def _read(file: soundfile.SoundFile, sample_rate: int, limit: int, max_seconds: float) -> tuple[Waveform, int]:
    """The mono waveform at `sample_rate` and the number of frames of the file; `limit` in frames."""
    resampler = None
    if file.samplerate != sample_rate:
        resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
    block_frames = max(1, _BLOCK_SAMPLES // file.channels)
    pieces: list[Waveform] = []
    frames = 0
    while True:
        try:
            block = file.read(block_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            raise Problem("audio-corrupt", f"Decoding fails after {frames} frames.") from None
        last = len(block) < block_frames
        frames += len(block)
        if frames > limit:  # the header said less, or nothing
            raise _too_long(frames / file.samplerate, file.samplerate, file.channels, max_seconds)
        # NaN compares false.
        if len(block) and not np.abs(block).max() <= MAX_AMPLITUDE:
            raise Problem("audio-samples", f"A sample is not a number or beyond ±{MAX_AMPLITUDE:g} times full scale.")
        mono = block[:, 0] if file.channels == 1 else block.mean(axis=1, dtype=np.float32)
        pieces.append(mono if resampler is None else resampler.resample_chunk(np.ascontiguousarray(mono), last))
        if last:
            return (pieces[0] if len(pieces) == 1 else np.concatenate(pieces)), frames
