"""The supervisor against real process trees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

DEADLINE_S = 20.0
# A program like torchrun: its worker has a session of its own, and the worker a child that hides behind it.
TREE = """
import os, subprocess, sys, signal
{prologue}
leaf = "import os,sys,signal; {leaf}; open(sys.argv[1] + '/leaf', 'w').write(str(os.getpid())); signal.pause()"
worker = (
    "import os,subprocess,sys,signal; {leaf};"
    "subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]], start_new_session=True);"
    "open(sys.argv[1] + '/worker', 'w').write(str(os.getpid())); signal.pause()"
)
subprocess.Popen([sys.executable, "-c", worker, sys.argv[1], leaf], start_new_session=True)
open(sys.argv[1] + "/program", "w").write(str(os.getpid()))
{end}
"""
IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {DEADLINE_S} s"
        os.sched_yield()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Processes a test knows of; none of them may outlive it."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def tree_argv(folder: Path, stubborn: bool, end: str = "signal.pause()") -> list[str]:
    mode = IGNORE if stubborn else "pass"
    return [sys.executable, "-c", TREE.format(prologue=mode, leaf=mode, end=end), str(folder)]


def supervisor_argv(*options: str, program: list[str]) -> list[str]:
    return [sys.executable, "-m", "training_jobs.supervisor", *options, "--", *program]


def tree_pids(folder: Path, started: list[int]) -> list[int]:
    names = ("program", "worker", "leaf")

    def written() -> bool:
        return all((folder / name).is_file() and (folder / name).read_text() for name in names)

    until(written, "the start of the process tree")
    pids = [int((folder / name).read_text()) for name in names]
    started += pids
    return pids


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_signal_ends_the_whole_tree(
    tmp_path: Path, started: list[int], signum: signal.Signals, stubborn: bool
) -> None:
    argv = supervisor_argv("--grace", "0.5", program=tree_argv(tmp_path, stubborn))
    supervisor = subprocess.Popen(argv, stderr=subprocess.PIPE)
    started.append(supervisor.pid)
    pids = tree_pids(tmp_path, started)
    supervisor.send_signal(signum)
    _, stderr = supervisor.communicate(timeout=DEADLINE_S)
    assert supervisor.returncode == 128 + (signal.SIGKILL if stubborn else signal.SIGTERM)
    assert not [pid for pid in pids if is_alive(pid)]
    assert signum.name.encode() in stderr


def test_kill_9_of_the_parent_ends_the_whole_tree(tmp_path: Path, started: list[int]) -> None:
    argv = supervisor_argv("--grace", "0.5", program=tree_argv(tmp_path, stubborn=True))
    parent_code = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    parent = subprocess.Popen([sys.executable, "-c", parent_code, *argv], stderr=subprocess.DEVNULL)
    started.append(parent.pid)
    pids = tree_pids(tmp_path, started)
    supervisor = psutil.Process(pids[0]).ppid()
    started.append(supervisor)
    parent.kill()
    parent.wait(DEADLINE_S)
    until(lambda: not [pid for pid in [supervisor, *pids] if is_alive(pid)], "the end of the tree")


def test_the_end_of_the_thread_that_started_it_is_not_the_end_of_the_parent(tmp_path: Path) -> None:
    """The kernel's parent-death signal comes when the parent's thread ends; the program must go on."""
    release = tmp_path / "release"
    os.mkfifo(release)
    program = [sys.executable, "-c", f"open({str(release)!r}).read(); print('finished')"]
    parent_code = textwrap.dedent(
        """
        import subprocess, sys, threading
        made = []
        def start():
            made.append(subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        thread = threading.Thread(target=start)
        thread.start(); thread.join()
        with open(sys.argv[1], "w") as stream:  # opens once the program reads: the supervisor is up
            stream.write("go")
        print(made[0].communicate()[0].decode(), made[0].returncode)
        """
    )
    argv = [sys.executable, "-c", parent_code, str(release), *supervisor_argv(program=program)]
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert answer.stdout.split() == ["finished", "0"]


def test_what_the_program_leaves_behind_is_ended(tmp_path: Path, started: list[int]) -> None:
    end = "import pathlib\nwhile not pathlib.Path(sys.argv[1] + '/leaf').is_file(): os.sched_yield()"
    argv = supervisor_argv(program=tree_argv(tmp_path, stubborn=True, end=end))
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert answer.returncode == 0
    assert "left behind" in answer.stderr
    assert not [pid for pid in tree_pids(tmp_path, started) if is_alive(pid)]


def test_the_time_limit_ends_the_tree_and_is_said(tmp_path: Path, started: list[int]) -> None:
    argv = supervisor_argv("--timeout", "3", "--grace", "0.1", program=tree_argv(tmp_path, stubborn=True))
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert answer.returncode == 124
    assert "time limit of 3 s" in answer.stderr
    assert not [pid for pid in tree_pids(tmp_path, started) if is_alive(pid)]


def test_output_is_passed_on_and_logged_and_a_failure_repeats_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "folder" / "log.txt"
    code = (
        "import sys\nprint('to stdout')\nfor n in range(100): print('line', n, file=sys.stderr)\nsys.exit(7)"
    )
    argv = supervisor_argv("--log", str(log), program=[sys.executable, "-c", code])
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert answer.returncode == 7
    assert answer.stdout == "to stdout\n"
    lines = log.read_text().splitlines()
    assert {"to stdout", "line 0", "line 99"} <= set(lines)
    headline = next(number for number, line in enumerate(lines) if "with code 7" in line)
    # Standard output and error come through two pipes, so their order among each other is not known.
    assert "line 99" in lines[headline:]
    assert len(lines[headline:]) < 40


def test_the_last_lines_are_the_workers_and_not_torchruns_report_on_them(tmp_path: Path) -> None:
    report = (
        "E1122 21:00:00.000000 1 torch/distributed/elastic/multiprocessing/api.py:900] failed (exitcode: 1)"
    )
    said = ["loss is nan at step 7", report]
    code = f"import sys\nfor line in {said!r}: print(line, file=sys.stderr)\nsys.exit(1)"
    argv = supervisor_argv(program=[sys.executable, "-c", code])
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert answer.stderr.splitlines()[-1] == "loss is nan at step 7"


def test_quiet_writes_to_the_log_only(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    argv = supervisor_argv("--quiet", "--log", str(log), program=[sys.executable, "-c", "print('hello')"])
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert (answer.stdout, answer.stderr) == ("", "")
    assert log.read_text() == "hello\n"


def test_a_command_that_does_not_exist_says_so(tmp_path: Path) -> None:
    argv = supervisor_argv(program=[str(tmp_path / "absent")])
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert answer.returncode != 0
    assert "absent" in answer.stderr
