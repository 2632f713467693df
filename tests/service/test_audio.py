"""Decoding: formats, rates, channels, bounds."""

import struct

import numpy as np
import pytest
import soundfile
import soxr

from service import audio
from service.audio import MAX_AMPLITUDE, decode
from service.problems import Problem

from .tones import SAMPLE_RATE, encode, tone, wav


def refused(data: bytes, max_seconds: float = 60) -> Problem:
    with pytest.raises(Problem) as caught:
        decode(data, SAMPLE_RATE, max_seconds)
    return caught.value


@pytest.mark.parametrize(
    ("container", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1 / 100),
        ("WAV", "PCM_16", 1 / 30_000),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.02),
        ("WAVEX", "PCM_24", 1e-6),
        ("RF64", "PCM_16", 1 / 30_000),
        ("FLAC", "PCM_16", 1 / 30_000),
        ("FLAC", "PCM_24", 1e-6),
        ("OGG", "VORBIS", 0.05),
        ("OGG", "OPUS", 0.1),
    ],
)
def test_samples_come_through(container: str, subtype: str, tolerance: float) -> None:
    samples = tone("yes")
    audio = decode(encode(samples, container=container, subtype=subtype), SAMPLE_RATE, 60)
    assert (audio.sample_rate, audio.channels, audio.seconds) == (SAMPLE_RATE, 1, 1.0)
    assert audio.waveform.dtype == np.float32
    # The ends of lossy codecs ring.
    np.testing.assert_allclose(audio.waveform[800:-800], samples[800:-800, 0], atol=tolerance, rtol=0)


def test_mp3_is_decoded() -> None:
    audio = decode(encode(tone("down"), container="MP3", subtype="MPEG_LAYER_III"), SAMPLE_RATE, 60)
    assert audio.format == "MP3"
    spectrum = np.abs(np.fft.rfft(audio.waveform[:SAMPLE_RATE]))
    assert int(spectrum.argmax()) == 1_000


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
def test_resampling_is_that_of_soxr(rate: int) -> None:
    samples = np.random.default_rng(rate).uniform(-0.5, 0.5, rate).astype(np.float32)
    audio = decode(encode(samples, rate, subtype="FLOAT"), SAMPLE_RATE, 60)
    assert len(audio.waveform) == SAMPLE_RATE
    np.testing.assert_allclose(audio.waveform, soxr.resample(samples, rate, SAMPLE_RATE), atol=1e-6)


def test_long_audio_is_resampled_as_a_whole() -> None:
    """Blocks of the decoder leave no seams."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 44_100 * 15).astype(np.float32)
    audio = decode(encode(samples, 44_100, subtype="FLOAT"), SAMPLE_RATE, 60)
    np.testing.assert_allclose(audio.waveform, soxr.resample(samples, 44_100, SAMPLE_RATE), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 64])
def test_channels_are_averaged(channels: int) -> None:
    samples = np.random.default_rng(channels).uniform(-0.5, 0.5, (8_000, channels)).astype(np.float32)
    audio = decode(encode(samples, subtype="FLOAT"), SAMPLE_RATE, 60)
    assert audio.channels == channels
    np.testing.assert_allclose(audio.waveform, samples.mean(axis=1), atol=1e-6)


def test_one_sample_is_audio_and_none_is_not() -> None:
    assert len(decode(encode(np.zeros((1, 1), np.float32)), SAMPLE_RATE, 60).waveform) == 1
    assert refused(encode(np.zeros((0, 1), np.float32))).name == "audio-empty"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -MAX_AMPLITUDE * 1.01])
def test_impossible_samples_are_refused(value: float) -> None:
    samples = tone("up")
    samples[4_711, 0] = value
    assert refused(encode(samples, subtype="FLOAT")).name == "audio-samples"


def test_more_than_full_scale_is_accepted() -> None:
    samples = tone("up", amplitude=MAX_AMPLITUDE)
    np.testing.assert_array_equal(decode(encode(samples, subtype="FLOAT"), SAMPLE_RATE, 60).waveform, samples[:, 0])


@pytest.mark.parametrize("container", ["AIFF", "AU", "CAF", "W64", "VOC"])
def test_other_audio_formats_are_named_and_refused(container: str) -> None:
    problem = refused(encode(tone("up"), container=container))
    assert problem.name == "not-audio"
    assert container in problem.detail


@pytest.mark.parametrize(
    "data", [b"", b"x", b"hello world" * 100, b"RIFF", b"fLaC", b"OggS", b"ID3", b"\0" * 4096, b"\xff" * 4096]
)
def test_bytes_that_are_not_audio(data: bytes) -> None:
    assert refused(data).name in ("not-audio", "audio-empty")


def test_length_limit_is_exact() -> None:
    decode(wav("up", 2.0), SAMPLE_RATE, 2.0)
    problem = refused(wav("up", 2.001), 2.0)
    assert problem.name == "audio-too-long"
    assert "at most 2 s" in problem.detail


@pytest.mark.parametrize("rate", [1, 999, 384_001, 2_000_000])
def test_rate_limits(rate: int) -> None:
    data = bytearray(wav("up"))
    struct.pack_into("<I", data, 24, rate)
    assert refused(bytes(data)).name == "audio-rate"


def test_many_channels_shorten_what_is_accepted() -> None:
    """The bound is on all channels' samples together: 60 s of 8 channels at 48 kHz."""
    problem = refused(encode(np.zeros((48_000, 64), np.float32), 48_000, subtype="PCM_U8"), 6)
    assert problem.name == "audio-too-long"
    assert "64 channels" in problem.detail


def flac_that_claims(frames: int) -> bytes:
    """A second of FLAC whose STREAMINFO claims `frames`."""
    data = bytearray(encode(tone("yes"), container="FLAC"))
    # 4 bytes magic, 4 header, then 13 bytes into STREAMINFO: 4 bits of other fields, 36 bits of frames.
    data[21] = (data[21] & 0xF0) | (frames >> 32)
    struct.pack_into(">I", data, 22, frames & 0xFFFFFFFF)
    return bytes(data)


def test_ten_hours_claimed_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    assert refused(flac_that_claims(36_000 * SAMPLE_RATE)).name == "audio-too-long"


def test_ten_hours_of_silence_in_a_small_file_cost_little() -> None:
    flac = encode(np.zeros((SAMPLE_RATE * 3_600, 1), np.int16), container="FLAC")
    assert len(flac) < 500_000
    assert refused(flac).name == "audio-too-long"


def test_unfinished_wav_header_is_accepted() -> None:
    """Programs that write to a pipe leave the sizes at their greatest value."""
    data = bytearray(wav("yes"))
    struct.pack_into("<I", data, 4, 0xFFFFFFFF)
    struct.pack_into("<I", data, 40, 0xFFFFFFFF)
    assert decode(bytes(data), SAMPLE_RATE, 60).seconds == 1.0


def test_truncated_wav_keeps_what_is_there() -> None:
    assert decode(wav("yes")[: 44 + 2 * 8_000], SAMPLE_RATE, 60).seconds == 0.5


def test_the_direct_path_gives_what_libsndfile_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(5).integers(-32_768, 32_767, (5_001, 1), endpoint=True).astype(np.int16)
    data = encode(noise)
    assert audio._plain_wav(data, 16_000) is not None
    direct = decode(data, 16_000, 60.0)
    monkeypatch.setattr(audio, "_plain_wav", lambda *_: None)
    read = decode(data, 16_000, 60.0)
    np.testing.assert_array_equal(direct.waveform, read.waveform)
    assert direct.waveform.dtype == read.waveform.dtype == np.float32
    assert (direct.seconds, direct.sample_rate, direct.channels, direct.format) == (
        read.seconds,
        read.sample_rate,
        read.channels,
        read.format,
    )


def test_the_direct_path_takes_no_other_file() -> None:
    data = encode(np.ones((100, 1), np.int16))
    for offset in range(44):
        changed = bytearray(data)
        changed[offset] ^= 1
        assert audio._plain_wav(bytes(changed), 16_000) is None, offset
    for other in (data[:-1], data[:-2], data + b"\0\0", data[:44], b"", encode(np.ones((100, 2), np.int16))):
        assert audio._plain_wav(other, 16_000) is None
