"""Who speaks in the sample corpora: eSpeak NG voices with a variant, a pace and a pitch of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Voice:
    """A speaker; ``espeak`` is eSpeak NG's voice and variant, ``pitch`` runs from 0 to 99."""

    speaker: str
    name: str
    sex: Literal["F", "M"]
    language: Language
    espeak: str
    words_per_minute: int
    pitch: int


# Speakers are numbers where the layout is LibriSpeech's; SPEAKERS.TXT there gives the names. All speak slowly: the
# tokenizer hears 12.5 frames a second, which is about one a phoneme at 140 words a minute.
COMMAND_VOICES: tuple[Voice, ...] = (
    Voice("1001", "Adam", "M", "en", "en-us+m1", 140, 48),
    Voice("1002", "Beth", "F", "en", "en-us+f2", 142, 55),
    Voice("1003", "Carl", "M", "en", "en-us+m3", 136, 42),
    Voice("1004", "Dora", "F", "en", "en-us+f4", 146, 50),
    Voice("1005", "Ewan", "M", "en", "en-us+m7", 140, 50),
    Voice("1006", "Fern", "F", "en", "en-us+f1", 138, 52),
    Voice("1007", "Glen", "M", "en", "en-us+m6", 144, 46),
    Voice("1008", "Hope", "F", "en", "en-us+f3", 140, 48),
)
# Never heard in training.
HELD_OUT_SPEAKER = "1007"

MANDARIN_VOICES: tuple[Voice, ...] = (
    Voice("ming", "Ming", "M", "zh", "cmn", 140, 48),
    Voice("hua", "Hua", "F", "zh", "cmn+f2", 142, 52),
    Voice("jun", "Jun", "M", "zh", "cmn+m3", 136, 44),
    Voice("lan", "Lan", "F", "zh", "cmn+f4", 144, 50),
    Voice("bo", "Bo", "M", "zh", "cmn+m1", 140, 50),
)

# Questions are asked by voices that training knows from the commands and by the held-out one, and answered by one
# voice of its own.
ASKING_VOICES: tuple[Voice, ...] = (
    *COMMAND_VOICES[:5],
    *(voice for voice in COMMAND_VOICES if voice.speaker == HELD_OUT_SPEAKER),
)
ANSWERING_VOICE = Voice("vox", "Vox", "F", "en", "en-us+f5", 140, 50)
