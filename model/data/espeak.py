"""espeak-ng in this process, through the shared library that the wheel espeakng-loader carries.

Its state is global: one thread only, and what it says depends on what it said before. So a reproducible corpus needs a
fresh process for each fixed sequence of utterances. The C interface is declared in espeak-ng's ``speak_lib.h``.
"""

import ctypes
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np
import numpy.typing as npt

from model.errors import UserError

_AUDIO_OUTPUT_SYNCHRONOUS, _INITIALIZE_DONT_EXIT, _CHARS_UTF8 = 2, 0x8000, 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
VOICES = Path(espeakng_loader.get_data_path()) / "voices"
Samples = npt.NDArray[np.int16]
_chunks: list[Samples] = []  # of what is being said


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
def _receive(samples: Any, count: int, _events: Any) -> int:
    if samples and count > 0:
        _chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
    return 0


def say(text: str, voice: str, seed: int, speed: int, pitch: int, pitch_range: int) -> tuple[Samples, int]:
    """``int16[samples]``, empty when the voice has no sound for the text; and their sample rate in Hz.

    ``voice`` is like ``en-us+f1``; ``speed`` is in words a minute, 80 to 450; ``pitch`` and ``pitch_range`` run from 0
    to 99. Raises ValueError: no such voice; UserError: espeak-ng does not start.
    """
    library, rate = _started()
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice '{voice}'")
    library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
    for parameter, value in ((_RATE, speed), (_PITCH, pitch), (_RANGE, pitch_range)):
        library.espeak_SetParameter(parameter, value, 0)
    _chunks.clear()
    data = text.encode()
    library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _CHARS_UTF8, None, None)
    library.espeak_Synchronize()
    return np.concatenate([np.empty(0, np.int16), *_chunks]), rate


def pronounced(words: Collection[str]) -> dict[str, str]:
    """Each word and its phonemes in American English, without stress; ``speak_lib.h`` tells the notation."""
    library, _ = _started()
    library.espeak_SetVoiceByName(b"en-us")
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    said = {}
    for word in words:
        text = ctypes.c_char_p(word.encode())
        phonemes: bytes = library.espeak_TextToPhonemes(ctypes.byref(text), _CHARS_UTF8, 0)
        said[word] = phonemes.decode().translate(dict.fromkeys(map(ord, "',%")))
    return said


@cache
def _started() -> tuple[ctypes.CDLL, int]:
    """The library, started once in a process, and the sample rate of what it says, in Hz."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    start = (_AUDIO_OUTPUT_SYNCHRONOUS, 0, str(VOICES.parent).encode(), _INITIALIZE_DONT_EXIT)
    if (rate := library.espeak_Initialize(*start)) <= 0:
        raise UserError(f"espeak-ng does not start with the voices in '{VOICES}'; reinstall espeakng-loader")
    library.espeak_SetSynthCallback(_receive)
    return library, rate
