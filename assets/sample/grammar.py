"""What is said in the sample corpora: a closed grammar of few, frequent words.

The ``tiny`` model learns to read these within minutes on a laptop, so every word must be heard often: the English
part has about sixty words, the Mandarin part about forty characters.
"""

from __future__ import annotations

from itertools import product
from typing import Literal

Topic = Literal["numbers", "commands", "sentences"]

NUMBERS: tuple[str, ...] = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
)  # fmt: skip
DAYS: tuple[str, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
COLORS: tuple[str, ...] = ("red", "green", "blue")
ANIMALS: tuple[str, ...] = ("cat", "dog", "bird")
OPPOSITES: tuple[tuple[str, str], ...] = (("left", "right"), ("up", "down"), ("big", "small"))

_MANDARIN_NUMBERS = "一二三四五六七八九十"


def english_texts() -> list[tuple[Topic, str]]:
    """All English texts with their topic, in a fixed order, none twice."""
    pairs = [f"{NUMBERS[digit]} {NUMBERS[(3 * digit + 4) % 10]}" for digit in range(10)]
    numbers = [*NUMBERS, *pairs]
    commands = [
        *(
            f"turn {state} the {thing}"
            for state, thing in product(("on", "off"), ("light", "radio", "heater", "fan"))
        ),
        *(f"{verb} the {thing}" for verb, thing in product(("open", "close"), ("door", "window", "gate"))),
        *(f"go {way}" for pair in OPPOSITES[:2] for way in pair),
        *(f"set a timer for {number} minutes" for number in ("two", "three", "five", "ten")),
    ]
    sentences = [
        *(f"today is {day}" for day in DAYS),
        *(f"the {animal} is {what}" for animal, what in product(ANIMALS, ("big", "small", "red", "green"))),
        *(f"i like {color}" for color in COLORS),
    ]
    topics: list[tuple[Topic, list[str]]] = [
        ("numbers", numbers),
        ("commands", commands),
        ("sentences", sentences),
    ]
    return [(topic, text) for topic, texts in topics for text in texts]


def mandarin_texts() -> list[str]:
    """All Mandarin texts, in a fixed order, none twice."""
    return [
        *_MANDARIN_NUMBERS,
        *(f"{verb}{thing}" for verb, thing in product(("打开", "关"), "灯门窗")),
        *(f"今天是星期{day}" for day in "一二三四五六天"),
        *(f"我要{thing}" for thing in "水茶饭"),
        *(f"{animal}很{size}" for animal, size in product("猫狗鸟", "大小")),
        *(f"向{way}走" for way in "左右上下"),
    ]
