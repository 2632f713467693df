"""Reading clips: any format in, one second out, nothing dropped in silence."""

import numpy as np
import pytest

from model import audio

from .conftest import tone, wav_bytes


def _read(files: dict[str, bytes]) -> tuple[dict[str, audio.Pcm], audio.Audit]:
    audit, clips = audio.Audit(), {}
    for name, data in files.items():
        pcm, found = audio.read_clip(data)
        assert audio.Found.from_text(found.to_text()) == found
        audit.add(name, found)
        if pcm is not None:
            clips[name] = pcm
    return clips, audit


def test_what_is_wrong_with_clips_is_counted_by_name() -> None:
    clips, audit = _read(
        {
            "up/good.wav": wav_bytes(tone(440)),
            "up/short.wav": wav_bytes(tone(440, 0.5)),
            "up/long.wav": wav_bytes(tone(440, 1.5)),
            "up/silent.wav": wav_bytes(tone(440, level=1e-4)),
            "up/no_samples.wav": wav_bytes(tone(440, 0.0)),
            "up/empty.wav": b"",
            "up/text.wav": b"this is no sound",
        },
    )
    assert list(clips) == ["up/good.wav", "up/short.wav", "up/long.wav", "up/silent.wav"]
    assert (audit.read, audit.padded, audit.cut, audit.silent) == (
        *(7, ["up/short.wav"], ["up/long.wav"]),
        ["up/silent.wav"],
    )
    assert list(audit.broken) == ["up/no_samples.wav", "up/empty.wav", "up/text.wav"]
    assert audit.broken["up/no_samples.wav"] == "no samples"
    assert audit.to_dict()["broken"] == 3


def test_a_short_clip_is_padded_at_its_end() -> None:
    clips, _ = _read({"up/a.wav": wav_bytes(tone(440, 0.25))})
    pcm = clips["up/a.wav"]
    assert pcm.shape == (16_000,)
    assert np.abs(pcm[:4000]).max() > 9000
    assert not pcm[4000:].any()


def test_of_a_long_clip_the_loudest_second_is_kept() -> None:
    samples = np.zeros(48_000, dtype=np.float32)
    samples[30_000:34_000] = 0.5
    assert np.count_nonzero(audio.fit(samples)) == 4000


def test_sixteen_bits_stay_bit_for_bit() -> None:
    values = np.random.default_rng(1).integers(-32768, 32768, 16_000).astype(np.int16)
    clips, _ = _read({"up/a.wav": wav_bytes(values), "up/b.flac": wav_bytes(values, kind="FLAC")})
    np.testing.assert_array_equal(clips["up/a.wav"], values)
    np.testing.assert_array_equal(clips["up/b.flac"], values)


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 1)])
def test_any_rate_and_channel_count_becomes_16_khz_mono(rate: int, channels: int) -> None:
    samples = np.stack([tone(440, rate=rate)] * channels, axis=1)
    decoded = audio.decode(wav_bytes(samples, rate))
    assert abs(decoded.size - 16_000) <= 1
    inner = slice(2_000, 14_000)
    np.testing.assert_allclose(decoded[inner], tone(440)[inner], atol=0.01)
