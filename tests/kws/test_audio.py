"""Decoding: formats, headers that lie, rates, channels, bounds."""

import contextlib
import struct

import numpy as np
import pytest
import soxr

from kws.audio import MAX_AMPLITUDE, SAMPLE_RATE, AudioError, decode, media_kind
from tests.service.tones import encode, tone, wav

EXACT = [f"WAV {subtype}" for subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")]
EXACT += ["WAVEX", "RF64", "FLAC", "AIFF", "AU", "CAF", "W64", "VOC", "NIST", "SVX", "PAF"]
LOSSY = {"WAV PCM_U8": 0.01, "WAV ULAW": 0.02, "OGG VORBIS": 0.05, "OGG OPUS": 0.1, "MP3 MPEG_LAYER_III": 0.1}


def refused(data: bytes, max_seconds: float = 60) -> AudioError:
    with pytest.raises(AudioError) as caught:
        decode(data, max_seconds=max_seconds)
    return caught.value


@pytest.mark.parametrize(("kind", "error"), {**dict.fromkeys(EXACT, 4e-5), **LOSSY}.items())
def test_whatever_libsndfile_reads_comes_through(kind: str, error: float) -> None:
    container, _, subtype = kind.partition(" ")
    samples = tone("yes")
    audio = decode(encode(samples, container=container, subtype=subtype or "PCM_16"))
    assert (audio.sample_rate, audio.channels, audio.format) == (SAMPLE_RATE, 1, container)
    assert audio.waveform.dtype == np.float32
    assert audio.seconds == pytest.approx(1.0, abs=0.11 if container == "MP3" else 0)
    # The ends of lossy codecs ring; MP3 has a delay of its own.
    delay = int(np.argmax(np.correlate(audio.waveform[800:2400], samples[800:1600, 0]))) if container == "MP3" else 0
    np.testing.assert_allclose(audio.waveform[800 + delay : 15_000], samples[800 : 15_000 - delay, 0], atol=error)


def patched(data: bytes, *patches: tuple[int, bytes]) -> bytes:
    changed = bytearray(data)
    for place, new in patches:
        changed[place : place + len(new)] = new
    return bytes(changed)


NOTHING, ALL_ONES, UNKNOWN = b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff" * 7 + b"\x7f"
PLAIN = wav("up")
RIFX = struct.pack(">4sI8sIHHIIHH4sI", b"RIFX", 0, b"WAVEfmt ", 16, 1, 1, SAMPLE_RATE, 32_000, 2, 16, b"data", 0)
FLAC, CAF = (encode(tone("up"), container=kind) for kind in ("FLAC", "CAF"))
LYING = {
    "wav, sizes 0": patched(PLAIN, (4, NOTHING), (40, NOTHING)),
    "wav, sizes all ones": patched(PLAIN, (4, ALL_ONES), (40, ALL_ONES)),
    "wav, larger than the file": patched(PLAIN, (40, struct.pack("<I", 1 << 20))),
    "wav, behind a chunk": patched(PLAIN[:36] + b"LIST\4\0\0\0INFO" + PLAIN[36:], (4, NOTHING), (52, NOTHING)),
    "wav, behind a comment": patched(PLAIN[:36] + b"LIST\x10\0\0\0INFOICMT\4\0\0\0data" + PLAIN[36:], (64, NOTHING)),
    "rifx, size 0": RIFX + np.frombuffer(PLAIN[44:], "<i2").astype(">i2").tobytes(),
    "flac, length unknown": patched(FLAC, (21, bytes([FLAC[21] & 0xF0]) + NOTHING)),
    "bw64": b"BW64" + encode(tone("up"), container="RF64")[4:],
    "bw64, sizes 0": patched(encode(tone("up"), container="RF64"), (0, b"BW64"), (20, bytes(16))),
    "w64, sizes unknown": patched(encode(tone("up"), container="W64"), *((at, UNKNOWN) for at in (16, 96))),
    **{f"caf, {size[:2]!r}": patched(CAF, (4084, size)) for size in (bytes(8), b"\xff" * 8, b"\0\1" + bytes(6))},
}


@pytest.mark.parametrize("data", LYING.values(), ids=LYING)
def test_lengths_in_headers_are_not_believed(data: bytes) -> None:
    np.testing.assert_allclose(decode(data).waveform, tone("up")[:, 0], atol=4e-5)
    assert refused(data, max_seconds=0.5).kind == "audio-too-long"
    for end in [*range(0, 120, 7), 1_000, len(data) - 1]:
        with contextlib.suppress(AudioError):  # and no other
            decode(data[:end])


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 192_000])
@pytest.mark.parametrize("seconds", [1, 7])
def test_resampling_is_that_of_soxr_without_seams(rate: int, seconds: int) -> None:
    samples = np.random.default_rng(rate).uniform(-0.5, 0.5, rate * seconds).astype(np.float32)
    audio = decode(encode(samples, rate, subtype="FLOAT"))
    np.testing.assert_allclose(audio.waveform, soxr.resample(samples, rate, SAMPLE_RATE), atol=1e-6)


def test_channels_are_averaged_unless_they_cancel_each_other() -> None:
    for channels in (1, 2, 3, 64):
        samples = np.random.default_rng(channels).uniform(-0.5, 0.5, (8_000, channels))
        audio = decode(encode(samples, subtype="FLOAT"))
        assert audio.channels == channels
        np.testing.assert_allclose(audio.waveform, samples.mean(axis=1), atol=1e-6)
    for rate in (16_000, 44_100):
        one = tone("no", rate=rate)
        heard = decode(encode(np.concatenate([one, -one], axis=1), rate, subtype="FLOAT")).waveform
        np.testing.assert_allclose(heard, soxr.resample(one[:, 0], rate, SAMPLE_RATE), atol=1e-5)


NO_SAMPLES = (np.nan, -np.inf, -MAX_AMPLITUDE * 1.01)
REFUSED = [
    (b"", "audio-empty", "empty"),
    (encode(np.zeros((0, 1), np.float32)), "audio-empty", "no samples"),
    (b"\x1a\x45\xdf\xa3" + bytes(60), "not-audio", "WebM"),
    *((b"\0\0\0\x20ftyp" + brand + bytes(60), "not-audio", "MP4, M4A, 3GP or Qui") for brand in (b"M4A ", b"3gp4")),
    (b"#!AMR\n" + bytes(60), "not-audio", "AMR"),
    (b"\xff\xf1\x50\x80" + bytes(60), "not-audio", "AAC"),
    (b"version https://git-lfs.github.com/spec/v1\n", "not-audio", "Git LFS"),
    *((patched(PLAIN, (24, struct.pack("<I", rate))), "audio-rate", f"{rate} Hz") for rate in (999, 384_001)),
    *((encode(np.append(tone("up"), value), subtype="FLOAT"), "audio-samples", "full scale") for value in NO_SAMPLES),
]


@pytest.mark.parametrize(("data", "kind", "named"), REFUSED)
def test_what_gives_no_waveform_is_named(data: bytes, kind: str, named: str) -> None:
    error = refused(data)
    assert (error.kind, str(error)) == (kind, error.detail)
    assert named in error.detail
    assert ("ffmpeg" in error.detail) == bool(data and kind == "not-audio" and media_kind(data))


def test_the_longest_is_exact_and_channels_count() -> None:
    decode(wav("up", 2.0), max_seconds=2.0)
    assert "may last 2 s" in refused(wav("up", 2.001), 2.0).detail
    many = encode(np.zeros((16_000, 96), np.float32))  # 1.5 million samples a second
    assert "96 channels" in refused(many, 0.2).detail
