"""Warnings and errors of a log are counted once each, and grouped by what they say."""

from __future__ import annotations

from pathlib import Path

from training_jobs.log_lines import MOST_MESSAGES, count_log, read_lines

AT = "2026-11-23 14:59:03,862 [rank 0]"

LOG = f"""W1123 14:58:56.000000 123 torch/distributed/run.py:803] Setting OMP_NUM_THREADS
{AT} INFO sft 7/150 loss 1.213 lr 2.0e-04 1,418 tok/s, 0 errors, 1 WARNING
{AT} WARNING run abc: 3 metrics kept back: busy
{AT} WARNING run abc: 14 metrics kept back: busy
{AT} INFO sft: warning: a step and its save take 40 s, grace_s is 30
{AT} INFO step-000040 could not be saved: model.pt: No space left on device; training goes on
[2026-11-23 14:59:01,112] [WARNING] [engine.py:12:f] clipping is off
[2026-11-23 14:59:01,112] [INFO] [engine.py:12:f] an ERROR is what this is not
site/torch/x.py:12: UserWarning: deprecated
  warnings.warn(
{AT} ERROR ValueError: the second is logged with its traceback
Traceback (most recent call last):
  File "x.py", line 1, in f
    f()
ValueError: the second is logged with its traceback
[rank1]: Traceback (most recent call last):
[rank1]:   File "y.py", line 1, in g
[rank1]: KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "y.py", line 2, in g
RuntimeError: what came of it
E1123 15:00:00.000000 123 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: 1)
supervisor: the program ended with code 1 after 64 s
{AT} ERROR ValueError: the second is logged with its traceback
Traceback (most recent call last):
  File "y.py", line 2, in g
RuntimeError: what came of it
E1123 15:00:00.000000 123 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: 1)
{AT} INFO sft: continues from step-000040
{AT} ERROR ValueError: the second is logged with its traceback
"""


def test_each_warning_and_error_counts_once_and_with_its_first_line() -> None:
    found = count_log(LOG.splitlines())
    messages = {(one.kind, one.first, one.count, one.line) for one in found.messages}
    failed = "torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: 1)"
    assert messages == {
        ("warning", "torch/distributed/run.py:803] Setting OMP_NUM_THREADS", 1, 1),
        ("warning", "run abc: 3 metrics kept back: busy", 2, 3),
        ("warning", "sft: warning: a step and its save take 40 s, grace_s is 30", 1, 5),
        (
            "warning",
            "step-000040 could not be saved: model.pt: No space left on device; training goes on",
            1,
            6,
        ),
        ("warning", "clipping is off", 1, 7),
        ("warning", "UserWarning: deprecated", 1, 9),
        ("error", "ValueError: the second is logged with its traceback", 2, 11),
        ("error", "KeyError: 'a'", 1, 18),
        ("error", failed, 1, 25),
        ("error", "supervisor: the program ended with code 1 after 64 s", 1, 26),
    }
    assert (found.warnings, found.errors) == (7, 5)
    assert [one.kind for one in found.messages] == ["error"] * 4 + ["warning"] * 6
    assert found.messages[0].count == 2
    assert found.diverged == ""


def test_a_launch_that_diverged_is_told_from_one_that_went_on_after_it() -> None:
    diverged = [f"{AT} ERROR DivergedError: sft: loss is not finite at step 3"]
    ended = ["supervisor: the program ended with code 1 after 64 s"]
    said = "DivergedError: sft: loss is not finite at step 3"
    assert count_log(diverged).diverged == said
    assert count_log(diverged + ended).diverged == said
    other = [f"{AT} ERROR OSError: gone"]
    assert count_log(diverged + ended + other + ended).diverged == ""


def test_other_words_without_end_are_counted_together() -> None:
    lines = [f"{AT} WARNING {'x' * (number + 1)}" for number in range(MOST_MESSAGES + 50)]
    found = count_log(lines)
    assert found.warnings == MOST_MESSAGES + 50
    assert sum(one.count for one in found.messages) == found.warnings
    assert len(found.messages) == MOST_MESSAGES + 1


def test_a_log_is_read_line_by_line_whatever_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    bar = b"".join(b"\r%d %%" % number for number in range(100_000))
    path.write_bytes(b"one\r\n" + bar + b"\n" + b"\xff" + b"y" * 10_000 + b"\nlast")
    lines = list(read_lines(path))
    assert lines[:2] == ["one", "99999 %"]
    assert len(lines[2]) == 2_000 and lines[2].startswith("\ufffdy")
    assert lines[3:] == ["last"]
