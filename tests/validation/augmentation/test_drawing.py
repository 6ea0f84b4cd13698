"""What is drawn for a recording depends on it, the copy and the seed: on no other row, no order, no other transform."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from validation.augmentation.drawing import NoiseRecording, copies_of, draw
from validation.augmentation.recipe import Recipe
from validation.augmentation.record import Augmentation

GOLDEN_DIGEST = "a643b1fad0a6a456aec76bb32106d43a9aeb011c1a4861c134b80a76ee942aed"
DIGESTS = [f"{number:064x}" for number in range(400)]
EVERYTHING: dict[str, Any] = {
    "copies": 2,
    "speed": {"probability": 0.5, "factors": [0.9, 1.0, 1.1]},
    "pitch": {"probability": 0.3, "semitones": [-2, 2]},
    "formant": {"probability": 0.3, "semitones": [-2, 2]},
    "noise": {"probability": 0.6, "corpus": "street", "snr_db": [5, 20]},
    "band": {"probability": 0.4, "kinds": ["telephone", "low_pass"]},
    "gain": {"probability": 0.7, "db": [-6, 6]},
}


@dataclass(frozen=True)
class Noises:
    corpus: str = "street"

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> NoiseRecording:
        return NoiseRecording(f"n{index}", "CC0-1.0", f"audio_22k/street/{index}.wav", f"{index:064x}", 30.0)


def drawn(digest: str, copy: int = 1, **changes: Any) -> Augmentation:
    return draw(Recipe.model_validate({**EVERYTHING, **changes}), digest, copy, Noises())


def test_draws_are_the_same_for_ever() -> None:
    """Golden: neither a library's next version nor a change of ours may draw other values for the same recipe."""
    noise = (
        f'"noise":{{"audio_digest":"{DIGESTS[6]}","audio_path":"audio_22k/street/6.wav","corpus":"street",'
    )
    noise += '"licence":"CC0-1.0","offset_s":9.092,"snr_db":7.67,"utterance_id":"n6"}'
    assert [drawn(DIGESTS[number], 1).to_json() for number in (1, 5, 6)] == [
        '{"band":[0.0,5255.0],"formant":0.41,"gain":4.65,"pitch":-1.46,"speed":1.1}',
        f'{{"band":[0.0,6316.0],{noise}}}',
        '{"band":[300.0,3400.0],"gain":3.45}',
    ]
    assert drawn(DIGESTS[5], 1).digest == GOLDEN_DIGEST


def test_a_value_does_not_depend_on_the_other_transforms() -> None:
    alone = Recipe.model_validate({"copies": 2, "gain": EVERYTHING["gain"]})
    assert [draw(alone, one, 2).gain for one in DIGESTS] == [drawn(one, 2).gain for one in DIGESTS]


def test_seed_recording_and_copy_each_draw_anew() -> None:
    for other in (
        [drawn(one, 1, seed=1) for one in DIGESTS],
        [drawn(one, 2) for one in DIGESTS],
        [drawn(one, 1) for one in DIGESTS[::-1]],
    ):
        same = sum(one == drawn(digest, 1) for one, digest in zip(other, DIGESTS, strict=True))
        assert same < 0.1 * len(DIGESTS)


def test_values_lie_in_their_ranges_and_happen_as_often_as_asked_for() -> None:
    every = [drawn(digest, copy) for digest in DIGESTS for copy in (1, 2)]
    gains = [one.gain for one in every if one.gain is not None]
    assert min(gains) >= -6 and max(gains) <= 6
    assert min(gains) < -5 and max(gains) > 5
    assert len(gains) / len(every) == pytest.approx(0.7, abs=0.05)
    noises = [one.noise for one in every if one.noise is not None]
    assert len(noises) / len(every) == pytest.approx(0.6, abs=0.05)
    assert all(5 <= one.snr_db <= 20 and 0 <= one.offset_s <= 30 for one in noises)
    assert set(Counter(one.utterance_id for one in noises)) == {f"n{index}" for index in range(7)}
    bands = Counter(one.band[0] for one in every if one.band is not None)
    assert bands[0.0] == pytest.approx(bands[300.0], rel=0.3)
    assert all(3000 <= one.band[1] <= 7000 for one in every if one.band is not None)


def test_copies_take_turns_at_the_factors() -> None:
    """As many copies as factors: each recording is heard at all of them, as Kaldi has it."""
    recipe = Recipe.model_validate({"copies": 2, "speed": {"factors": [0.9, 1.1]}})
    for digest in DIGESTS:
        assert {one.speed for _, (one,) in copies_of(recipe, [digest])} == {0.9, 1.1}
    firsts = Counter(draw(recipe, digest, 1).speed for digest in DIGESTS)
    assert firsts[0.9] == pytest.approx(firsts[1.1], rel=0.3)


def test_a_copy_of_which_nothing_was_drawn_is_not_made() -> None:
    recipe = Recipe.model_validate({"copies": 3, "speed": {"probability": 0.5, "factors": [1.1]}})
    made = [copies_of(recipe, [digest]) for digest in DIGESTS]
    counts = Counter(len(list(one)) for one in made)
    assert set(counts) == {0, 1}, "another copy at the same speed would be the same variant"
    assert counts[0] / len(DIGESTS) == pytest.approx(0.5**3, abs=0.05)


def test_what_is_learnt_to_be_said_is_changed_in_speed_and_gain_only() -> None:
    recipe = Recipe.model_validate({**EVERYTHING, "tasks": ["tts"]}).for_targets()
    for digest in DIGESTS:
        one = draw(recipe, digest, 1)
        assert one == Augmentation(speed=one.speed, gain=one.gain)
        assert (one.speed, one.gain) == (drawn(digest).speed, drawn(digest).gain)


def test_what_is_recorded_is_what_is_applied() -> None:
    for digest in DIGESTS:
        one = drawn(digest)
        again = Augmentation.from_json(one.to_json())
        assert again == one
        assert again.digest == one.digest


def test_where_the_noise_lies_is_not_what_the_variant_is_known_by() -> None:
    one = next(one for one in map(drawn, DIGESTS) if one.noise is not None)
    assert one.noise is not None
    moved = one.to_json().replace(one.noise.audio_path, "audio_22k/moved.wav")
    assert Augmentation.from_json(moved).digest == one.digest
    assert (
        Augmentation.from_json(one.to_json().replace(one.noise.audio_digest, "e" * 64)).digest != one.digest
    )


def test_only_the_speed_changes_the_length() -> None:
    assert Augmentation(speed=0.9).frames_of(22_050) == 24_500
    assert Augmentation(pitch=2.0, formant=1.0, gain=3.0).frames_of(22_050) == 22_050
