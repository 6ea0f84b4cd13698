"""In which scripts a language is written."""

from __future__ import annotations

# Unicode script names by primary language tag (ISO 639-1, and ISO 639-3 for cmn and yue), after CLDR's likely scripts
# and the second scripts in use. A language that is not here is not checked.
_LATIN = (
    "af az bs ca ceb cs cy da de en eo es et eu fi fil fo fr fy ga gd gl ha haw hr ht hu id ig is it jv ku la lb ln "
    "lt lv mg mi ms mt nb nl nn no oc pl pt qu rm ro rw sk sl sm sn so sq st su sv sw tk tl tn to tr ts uz vi vo wo xh "
    "yo zu"
)
_OTHERS: dict[str, tuple[str, ...]] = {
    "am": ("Ethiopic",),
    "ar": ("Arabic",),
    "as": ("Bengali",),
    "be": ("Cyrillic",),
    "bg": ("Cyrillic",),
    "bn": ("Bengali",),
    "bo": ("Tibetan",),
    "cmn": ("Han",),
    "el": ("Greek",),
    "fa": ("Arabic",),
    "gu": ("Gujarati",),
    "he": ("Hebrew",),
    "hi": ("Devanagari",),
    "hy": ("Armenian",),
    "ja": ("Han", "Hiragana", "Katakana"),
    "ka": ("Georgian",),
    "kk": ("Cyrillic", "Latin"),
    "km": ("Khmer",),
    "kn": ("Kannada",),
    "ko": ("Hangul", "Han"),
    "ky": ("Cyrillic",),
    "lo": ("Lao",),
    "mk": ("Cyrillic",),
    "ml": ("Malayalam",),
    "mn": ("Cyrillic", "Mongolian"),
    "mr": ("Devanagari",),
    "my": ("Myanmar",),
    "ne": ("Devanagari",),
    "or": ("Oriya",),
    "pa": ("Gurmukhi", "Arabic"),
    "ps": ("Arabic",),
    "ru": ("Cyrillic",),
    "sd": ("Arabic", "Devanagari"),
    "si": ("Sinhala",),
    "sr": ("Cyrillic", "Latin"),
    "ta": ("Tamil",),
    "te": ("Telugu",),
    "tg": ("Cyrillic",),
    "th": ("Thai",),
    "ti": ("Ethiopic",),
    "tt": ("Cyrillic",),
    "ug": ("Arabic",),
    "uk": ("Cyrillic",),
    "ur": ("Arabic",),
    "yi": ("Hebrew",),
    "yue": ("Han",),
    "zh": ("Han", "Bopomofo"),
}
SCRIPTS: dict[str, tuple[str, ...]] = {**dict.fromkeys(_LATIN.split(), ("Latin",)), **_OTHERS}

# Whose words no spaces part: texts are compared character by character.
UNSPACED = frozenset({"bo", "cmn", "ja", "km", "lo", "my", "th", "yue", "zh"})
