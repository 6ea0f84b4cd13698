"""CMU Sphinx lists: two files joined by id, markers dropped."""

from __future__ import annotations


def test_real_lists_are_read(make, read):
    found = read("sphinx", make.shared("sphinx"))
    assert len(found.said) == 5
    assert found.texts["005"] == "eight of spades four of clubs seven of hearts"
    assert found.said["001"].audio == "cards/001.wav"
    assert not found.problems


def test_lists_of_a_training_folder_are_joined_in_any_order(lay, read):
    root = lay(
        {
            "etc/an4_train.fileids": "ann/a\nann/b\nann/c\nbob-d\n",
            "etc/an4_train.transcription": "<s> read(2) me <sil> </s> (ann/b)\n<s> one </s> (a)\nno id\ntwo (x)\n",
            "etc/an4_test.transcription": "<s> lost </s> (y)\n",
            "wav/ann/a.sph": b"",
            "wav/ann/b.wav": b"",
            "wav/ann/c.wav": b"",
            "wav/ann/z.wav": b"",
        }
    )
    found = read("sphinx", root, audio_folder="wav", pattern="(?P<speaker>[a-z]+)/.*")
    assert found.texts == {"ann/a": "one", "ann/b": "read me"}
    assert (found.said["ann/a"].audio, found.said["ann/a"].speaker) == ("wav/ann/a.sph", "ann")
    assert found.said["ann/a"].fields["list"] == "an4_train"
    assert found.reasons == {
        "etc/an4_train.transcription:3": "malformed_row",
        "etc/an4_train.fileids:3": "no_transcript",
        "etc/an4_train.fileids:4": "no_transcript",
        "etc/an4_train.transcription:4": "missing_audio",
        "etc/an4_test.transcription:1": "missing_audio",
        "wav/ann/z.wav": "no_transcript",
    }
