"""Reading clips: any format in, one second out, nothing dropped in silence."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from model import audio
from model.data.layout import Clip

from .conftest import tone, wav_bytes, write_files


def _read(root: Path, files: dict[str, bytes]) -> tuple[dict[str, audio.Pcm], audio.Audit, str]:
    write_files(root, files)
    audit, digest = audio.Audit(), hashlib.sha256()
    clips = [Clip(name, "up", "training") for name in files]
    return {clip.name: pcm for clip, pcm in audio.read_clips(root, clips, audit, digest)}, audit, digest.hexdigest()


def test_what_is_wrong_with_clips_is_counted_by_name(tmp_path: Path) -> None:
    clips, audit, _ = _read(
        tmp_path,
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


def test_a_short_clip_is_padded_at_its_end(tmp_path: Path) -> None:
    clips, _, _ = _read(tmp_path, {"up/a.wav": wav_bytes(tone(440, 0.25))})
    pcm = clips["up/a.wav"]
    assert pcm.shape == (16_000,)
    assert np.abs(pcm[:4000]).max() > 9000
    assert not pcm[4000:].any()


def test_of_a_long_clip_the_loudest_second_is_kept() -> None:
    samples = np.zeros(48_000, dtype=np.float32)
    samples[30_000:34_000] = 0.5
    assert np.count_nonzero(audio.fit(samples)) == 4000


def test_sixteen_bits_stay_bit_for_bit(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(-32768, 32768, 16_000).astype(np.int16)
    clips, _, _ = _read(tmp_path, {"up/a.wav": wav_bytes(values), "up/b.flac": wav_bytes(values, kind="FLAC")})
    np.testing.assert_array_equal(clips["up/a.wav"], values)
    np.testing.assert_array_equal(clips["up/b.flac"], values)


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 1)])
def test_any_rate_and_channel_count_becomes_16_khz_mono(rate: int, channels: int) -> None:
    samples = np.stack([tone(440, rate=rate)] * channels, axis=1)
    decoded = audio.decode(wav_bytes(samples, rate))
    assert abs(decoded.size - 16_000) <= 1
    inner = slice(2_000, 14_000)
    np.testing.assert_allclose(decoded[inner], tone(440)[inner], atol=0.01)


def test_the_digest_knows_content_split_and_name_only(tmp_path: Path) -> None:
    one = _read(tmp_path / "one", {"up/a.wav": wav_bytes(tone(440))})[2]
    assert one == _read(tmp_path / "other", {"up/a.wav": wav_bytes(tone(440))})[2]
    assert one != _read(tmp_path / "changed", {"up/a.wav": wav_bytes(tone(441))})[2]
    assert one != _read(tmp_path / "renamed", {"up/b.wav": wav_bytes(tone(440))})[2]
