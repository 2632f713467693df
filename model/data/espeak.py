"""espeak-ng in this process, through the shared library that the wheel espeakng-loader carries.

The library keeps its state in globals: one thread only, and what it says depends on what it said before. So a
reproducible corpus needs a fresh process for each fixed sequence of utterances, and the random seed set anew for each.
The C interface is declared in espeak-ng's ``speak_lib.h``.
"""

import ctypes
from collections.abc import Collection
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.errors import UserError

_AUDIO_OUTPUT_SYNCHRONOUS, _INITIALIZE_DONT_EXIT, _CHARS_UTF8 = 2, 0x8000, 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def variants() -> list[str]:
    """The names of the voice variants (``f1``, ``Andy``, …), sorted."""
    return sorted(path.name for path in (_paths()[1] / "voices" / "!v").iterdir())


@cache
def _own() -> "Espeak":
    return Espeak()


def pronounced(words: Collection[str]) -> dict[str, str]:
    """Each word and its phonemes. Raises UserError: espeak-ng is not installed or does not start."""
    return {word: _own().phonemes(word) for word in words}


class Espeak:
    """A speaking espeak-ng; make one in a process. Raises UserError: it is not installed or does not start."""

    def __init__(self) -> None:
        library, data = _paths()
        self._library = ctypes.CDLL(library)
        self._chunks: list[npt.NDArray[np.int16]] = []
        self._callback = _Callback(self._receive)  # kept, else it is collected while C still calls it
        start = (_AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), _INITIALIZE_DONT_EXIT)
        self.rate = self._library.espeak_Initialize(*start)  # Hz
        if self.rate <= 0:
            raise UserError(f"espeak-ng does not start with the voices in '{data}'; reinstall espeakng-loader")
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: str, seed: int, speed: int, pitch: int, pitch_range: int) -> npt.NDArray[np.int16]:
        """``int16[samples]`` at ``self.rate``; empty when the voice has no sound for the text.

        ``voice`` is like ``en-us+f1``; ``speed`` is in words a minute, 80 to 450; ``pitch`` and ``pitch_range`` run
        from 0 to 99. Raises ValueError: no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice '{voice}'")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        for parameter, value in ((_RATE, speed), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        data = text.encode()
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate([np.empty(0, np.int16), *self._chunks])

    def phonemes(self, word: str) -> str:
        """How a word is pronounced in American English, without its stress; ``speak_lib.h`` tells the notation."""
        self._library.espeak_SetVoiceByName(b"en-us")
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        text = ctypes.c_char_p(word.encode())
        said: bytes = self._library.espeak_TextToPhonemes(ctypes.byref(text), _CHARS_UTF8, 0)
        return said.decode().translate({ord(mark): None for mark in "',%"})

    def _receive(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0


def _paths() -> tuple[str, Path]:
    """The library, and the folder with its voices."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise UserError("the synthetic corpus needs the package espeakng-loader; install the model group") from error
    return espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path())
