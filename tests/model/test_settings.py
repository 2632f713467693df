"""Settings: what profiles and options give, and what is refused."""

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from model.errors import UserError
from model.settings import PROFILES, Settings, make_settings

from .conftest import ROOT


def test_what_is_chosen_goes_before_the_profile_and_the_profile_before_the_default() -> None:
    assert make_settings({}) == Settings()
    quick = make_settings({"profile": "quick", "epochs": 3, "mixup": None, "labels": ("a", "b")})
    assert (quick.epochs, quick.mixup, quick.labels) == (3, PROFILES["quick"]["mixup"], ("a", "b"))
    for name, value in {"mixup": 0.0, "speech_share": 0.0, "labels": (), "licence": ""}.items():
        assert getattr(make_settings({name: value}), name) == value  # empty, and meant


@pytest.mark.parametrize("field", [each for each in fields(Settings) if each.metadata["low"] is not None])
def test_the_ends_of_every_number_are_allowed_and_no_more(field: Any) -> None:
    low, high = field.metadata["low"], field.metadata["high"]
    for value in (low, high):
        assert getattr(make_settings({field.name: value}), field.name) == value
    for value in (low - 1e-9 if low else -1, high * 1.001, float("nan"), "many"):
        with pytest.raises(UserError, match=f"--{field.name.replace('_', '-')} .* is out of range; give "):
            make_settings({field.name: value})


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    heavy = ("torch", "torchaudio", "onnx", "onnxruntime", "matplotlib", "scipy", "sklearn", "espeakng_loader")
    code = f"import sys, model.cli; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
