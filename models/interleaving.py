"""Interleaving an answer's text and audio in the pattern that the decode schedule follows."""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import ModelError

# Each chunk of audio is counted with the markers around it.
MARKERS = 2


def interleave(
    text_ids: Sequence[int], audio_ids: Sequence[int], ratio: Sequence[int], begin_id: int, end_id: int
) -> list[int]:
    """Cut text and audio into chunks and lay them in turn, text first.

    Args:
        text_ids: the answer's text.
        audio_ids: the answer's audio, without markers.
        ratio: pairs of (text, audio) counts, such as ``[1, 10, 4, 10]``. The audio counts include the chunk's two
            markers; the last pair repeats. As soon as a chunk could take all that is left of either, it is the
            last and takes all that is left of both.
        begin_id: marker before each chunk of audio.
        end_id: marker after it.

    Raises:
        ModelError: if the ratio is not made of pairs, a text count is below 1 or an audio count below 3.
    """
    pairs = list(zip(ratio[::2], ratio[1::2], strict=False))
    if not pairs or len(ratio) % 2 or any(text < 1 or audio <= MARKERS for text, audio in pairs):
        raise ModelError(
            f"ratio {list(ratio)} must be pairs of a text count of at least 1 and an audio count of at least "
            f"{MARKERS + 1}, which includes the two markers"
        )
    if not audio_ids:
        return list(text_ids)
    mixed: list[int] = []
    text_at = audio_at = chunk = 0
    while True:
        text_count, audio_count = pairs[min(chunk, len(pairs) - 1)]
        audio_count -= MARKERS
        if len(text_ids) - text_at <= text_count or len(audio_ids) - audio_at <= audio_count:
            return [*mixed, *text_ids[text_at:], begin_id, *audio_ids[audio_at:], end_id]
        mixed += text_ids[text_at : text_at + text_count]
        mixed += [begin_id, *audio_ids[audio_at : audio_at + audio_count], end_id]
        text_at += text_count
        audio_at += audio_count
        chunk += 1
