"""The supervisor against real process trees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from process_trees import deaf
from waiting import until

from training_jobs.program_output import last_words

DEADLINE_S = 180.0
# A program like torchrun: its worker has a session of its own, and the worker a child that hides behind it. Once the
# leaf's file is there, all three are, and whole.
TREE = """
import os, subprocess, sys, signal
{prologue}
leaf = (
    "import os,sys,signal; {leaf};"
    "own = sys.argv[1] + '/leaf'; open(own + '.new', 'w').write(str(os.getpid())); os.rename(own + '.new', own);"
    "signal.pause()"
)
worker = (
    "import os,subprocess,sys,signal; {leaf};"
    "open(sys.argv[1] + '/worker', 'w').write(str(os.getpid()));"
    "subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]], start_new_session=True);"
    "signal.pause()"
)
open(sys.argv[1] + "/program", "w").write(str(os.getpid()))
subprocess.Popen([sys.executable, "-c", worker, sys.argv[1], leaf], start_new_session=True)
{end}
"""
IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
# Says something until its tree has grown.
UNTIL_LEAF = """
import pathlib, threading
while not pathlib.Path(sys.argv[1] + "/leaf").is_file():
    print(".", flush=True)
    threading.Event().wait(0.05)
"""
# Ends well when asked to, after a while; any other end is another code.
FINISHES = """
import signal, sys, threading
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
print("ready", flush=True)
asked.wait()
print("asked", flush=True)
threading.Event().wait(float(sys.argv[1]))
sys.exit(3)
"""


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
    until((folder / "leaf").is_file, "the start of the process tree")
    pids = [int((folder / name).read_text()) for name in ("program", "worker", "leaf")]
    started += pids
    return pids


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_signal_ends_the_whole_tree(
    tmp_path: Path, started: list[int], signum: signal.Signals, stubborn: bool
) -> None:
    # Who hears it ends by it: not by what the grace period, were it over before that, would do.
    argv = supervisor_argv("--grace", "0.5" if stubborn else "60", program=tree_argv(tmp_path, stubborn))
    supervisor = subprocess.Popen(argv, stderr=subprocess.PIPE, preexec_fn=deaf)
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


def test_the_last_words_are_those_of_the_last_program(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    said = []
    for word in ("first", "second"):
        size = log.stat().st_size if log.is_file() else 0
        code = f"import sys; print({word!r}); sys.exit(1)"
        argv = supervisor_argv("--log", str(log), "--quiet", program=[sys.executable, "-c", code])
        assert subprocess.run(argv, timeout=DEADLINE_S, check=False).returncode == 1
        said.append(last_words(log, size)[1])
    assert said == [["first"], ["second"]]
    assert last_words(log, log.stat().st_size) == ("", [])
    assert last_words(tmp_path / "absent", 0) == ("", [])


def test_what_the_program_leaves_behind_is_ended(tmp_path: Path, started: list[int]) -> None:
    argv = supervisor_argv(program=tree_argv(tmp_path, stubborn=True, end=UNTIL_LEAF))
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert answer.returncode == 0
    assert "left behind" in answer.stderr
    assert not [pid for pid in tree_pids(tmp_path, started) if is_alive(pid)]


def test_a_program_that_says_nothing_any_more_is_ended(tmp_path: Path, started: list[int]) -> None:
    """Counted from its last line, so that one that takes its time to start is not."""
    program = tree_argv(tmp_path, stubborn=True, end=UNTIL_LEAF + "signal.pause()")
    argv = supervisor_argv("--stall", "5", "--grace", "0.1", program=program)
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert answer.returncode == 124
    assert "ended after 5 s without a line of output, killed with code 124" in answer.stderr
    assert not [pid for pid in tree_pids(tmp_path, started) if is_alive(pid)]


def test_a_program_that_says_something_is_not_ended_however_long_it_takes() -> None:
    code = "import threading\nfor _ in range(16): print('.', flush=True); threading.Event().wait(0.5)"
    argv = supervisor_argv("--stall", "6", program=[sys.executable, "-c", code])
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.fixture
def finishing(started: list[int]) -> Iterator[subprocess.Popen[str]]:
    """A supervised program that needs a moment to end well."""
    argv = supervisor_argv("--grace", "60", program=[sys.executable, "-c", FINISHES, "1"])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as supervisor:
        started.append(supervisor.pid)
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "ready\n"
        yield supervisor


def test_ctrl_c_that_comes_twice_at_once_is_one_request(finishing: subprocess.Popen[str]) -> None:
    """From the terminal, and from the run: the second must not cost the checkpoint."""
    finishing.send_signal(signal.SIGINT)
    assert finishing.stdout is not None
    assert finishing.stdout.readline() == "asked\n"
    finishing.send_signal(signal.SIGINT)
    _, stderr = finishing.communicate(timeout=DEADLINE_S)
    assert finishing.returncode == 3
    assert "ended by SIGINT with code 3" in stderr


def test_the_end_of_the_parent_does_not_cut_the_grace_period_short(
    tmp_path: Path, started: list[int]
) -> None:
    program = [sys.executable, "-c", FINISHES, "3"]
    log = tmp_path / "log.txt"
    argv = supervisor_argv("--grace", "60", "--log", str(log), program=program)
    parent_code = (
        "import subprocess, sys, signal; child = subprocess.Popen(sys.argv[1:]); "
        "print(child.pid, flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent_code, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        supervisor = int(parent.stdout.readline())
        started += [parent.pid, supervisor]
        until(lambda: log.is_file() and "ready" in log.read_text(), "the start of the program")
        os.kill(supervisor, signal.SIGINT)
        parent.kill()
        parent.stdout.close()
    until(lambda: not is_alive(supervisor), "the end of the supervisor")
    assert "ended by SIGINT with code 3" in log.read_text()


def test_one_program_at_a_time_writes_to_a_log(tmp_path: Path, started: list[int]) -> None:
    """What a killed run left behind may still be saving where the next one is to go on."""
    log = tmp_path / "log.txt"
    argvs = [
        supervisor_argv("--grace", "60", "--log", str(log), "--quiet", program=[sys.executable, "-c", *code])
        for code in ([FINISHES, "1"], ["print('second')"])
    ]
    first = subprocess.Popen(argvs[0])
    started.append(first.pid)
    until(lambda: log.is_file() and "ready" in log.read_text(), "the start of the first")
    second = subprocess.Popen(argvs[1])
    started.append(second.pid)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(2)
    first.send_signal(signal.SIGTERM)
    assert first.wait(DEADLINE_S) == 3
    assert second.wait(DEADLINE_S) == 0
    lines = log.read_text().splitlines()
    assert lines[0] == "ready" and lines[-1] == "second"


def test_output_is_passed_on_and_logged_and_a_failure_repeats_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "folder" / "log.txt"
    code = (
        "import sys\nprint('to stdout')\nfor n in range(100): sys.stderr.write(f'line {n}\\n')\nsys.exit(7)"
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
    why, said = last_words(log, since=0)
    assert why.startswith("the program ended with code 7 after")
    assert said == lines[headline + 1 :]


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
