"""Runs one program and answers for every process it starts: ``python -m training_jobs.supervisor … -- argv``.

Dagster's Pipes client signals its direct child only, torchrun's workers have sessions of their own, and when the
step itself is killed nobody is left to tell them. So this process stands between: it ends the whole tree when it is
asked to, when its own parent dies, and when the program has been silent for too long: one that hangs would hold its
GPUs for ever. It passes the program's output on, writes all of it to a log, repeats the last lines after a failure, and
exits with the program's code. One program at a time writes to a log: the next one waits until the last has ended. Where
a rank has waited for the others for too long, every rank's stack stands behind the last lines.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from training_jobs.program_output import ProgramOutput
from training_jobs.watchdog import expired

_HELPERS_S = 2.0
_TURN_S = 0.5  # between two looks whether another supervisor has let go of the log
# Ctrl-C reaches this process twice: from the terminal, and at once from the run, which passes it on.
_ONE_REQUEST_S = 2.0
STALLED_CODE = 124  # as timeout(1) has it
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Not one of the above: the kernel sends it when the parent's *thread* ends, which need not be the parent's end.
_PARENT_GONE = signal.SIGUSR1


@dataclass(frozen=True)
class Limits:
    """When to end the program, in seconds.

    Attributes:
        grace_s: from the request to stop until it is killed.
        stall_s: without any output until it is asked to stop.
    """

    grace_s: float
    stall_s: float | None = None


def die_with_parent(signum: int) -> None:
    """Have the kernel send ``signum`` to this process when its parent ends (``prctl(2)``, Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signum)


def supervise(argv: Sequence[str], limits: Limits, log: Path | None, quiet: bool = False) -> int:
    """Run ``argv`` to its end and return its exit code (128 + n for signal n, 124 where it said nothing any more).

    No process that it started, directly or not, is left when this returns.
    """
    parent = os.getppid()
    # Signals are taken one by one by sigtimedwait below, so that there is no handler to be interrupted by.
    awaited = {signal.SIGCHLD, _PARENT_GONE, *_ASKED}
    inherited = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, _PARENT_GONE)
    if os.getppid() != parent:
        return 128 + signal.SIGTERM  # the parent went before the kernel was told to watch it

    def in_child() -> None:
        # If this supervisor itself is killed with SIGKILL, the program is still asked to end.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # A shell's background job ignores SIGINT, and what Dagster makes of that ignores SIGTERM too: inherited, the
        # program would not hear that it is asked to end.
        for asked in _ASKED:
            signal.signal(asked, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, inherited)

    output = ProgramOutput(log, quiet)
    while not output.has_turn():
        asked = signal.sigtimedwait(awaited, _TURN_S)
        if asked is not None and (asked.si_signo != _PARENT_GONE or os.getppid() != parent):
            return 128 + signal.SIGTERM
    # Before the program starts: what its ranks have said of themselves is told from what was said before by this time.
    started, started_at_s = time.monotonic(), time.time()
    child = subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=in_child,  # noqa: PLW1509 - safe: no other thread exists yet
    )
    assert child.stdout is not None and child.stderr is not None
    output.pump(child.stdout, sys.stdout.buffer)
    output.pump(child.stderr, sys.stderr.buffer)
    code, why = _wait(child.pid, parent, limits, awaited, output)
    # Helpers of the program's own (multiprocessing has two) see its end by themselves, in a moment.
    psutil.wait_procs(psutil.Process().children(recursive=True), timeout=_HELPERS_S if code == 0 else 0)
    left = _kill_descendants()
    output.close()
    child.returncode = code  # it was reaped above, by its number
    if left and code == 0:
        output.say(f"ended {left} processes that the program had left behind")
    if code != 0:
        seconds = time.monotonic() - started
        late, stacks = expired(log.parent, started_at_s) if log is not None else ("", [])
        ended = f"{why or 'the program ended'} with code {code} after {seconds:.0f} s"
        output.say_failure(f"{ended}: {late}" if late else ended, stacks)
    return code


def _wait(
    pid: int, parent: int, limits: Limits, awaited: set[signal.Signals], output: ProgramOutput
) -> tuple[int, str]:
    """The program's code, and why it was ended where it did not end by itself."""
    asked_s = 0.0
    why, forced_code = "", None
    while True:
        code = _reap(pid)
        if code is not None:
            return (forced_code if forced_code is not None else code), why
        stalled_at = output.last_s + limits.stall_s if limits.stall_s is not None else None
        deadline = asked_s + limits.grace_s if why else stalled_at
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        info = signal.sigwaitinfo(awaited) if left is None else signal.sigtimedwait(awaited, left)
        if info is None and not why and output.last_s + (limits.stall_s or 0.0) > time.monotonic():
            continue  # it has said something meanwhile
        if info is not None and info.si_signo == signal.SIGCHLD:
            continue
        # The parent's end is one reason to stop, and none to shorten the grace period of another.
        if info is not None and info.si_signo == _PARENT_GONE and (why or os.getppid() == parent):
            continue
        if info is not None and why and time.monotonic() < asked_s + _ONE_REQUEST_S:
            continue
        if why:
            # Asked a second time, or the grace period is over.
            _kill_descendants()
            return (forced_code if forced_code is not None else 128 + signal.SIGKILL), f"{why}, killed"
        if info is None:
            why, forced_code = f"ended after {limits.stall_s:g} s without a line of output", STALLED_CODE
        elif info.si_signo == _PARENT_GONE:
            why = "ended because the process that started it is gone"
        else:
            why = f"ended by {signal.Signals(info.si_signo).name}"
        # Only the program is asked; it knows in which order its own children are to end.
        os.kill(pid, signal.SIGTERM)
        asked_s = time.monotonic()


def _reap(pid: int) -> int | None:
    """Collect every ended child (orphans come to this process); the code of ``pid`` if it was among them."""
    code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if ended == 0:
            return code
        if ended == pid:
            code = _exit_code(status)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _kill_descendants() -> int:
    """SIGKILL every descendant and wait until none is left; how many there were.

    Orphans are re-parented to this process, so the tree is complete, and killing is repeated until it is empty.
    """
    killed: set[int] = set()
    while True:
        for process in psutil.Process().children(recursive=True):
            try:
                if process.status() != psutil.STATUS_ZOMBIE:
                    killed.add(process.pid)
                process.kill()
            except psutil.NoSuchProcess:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return len(killed)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}, {value}): {os.strerror(error)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and supervise the program behind ``--``."""
    parser = argparse.ArgumentParser(prog="python -m training_jobs.supervisor", description=__doc__)
    parser.add_argument("--log", type=Path, help="file to which all output is appended")
    parser.add_argument("--stall", type=float, help="seconds without output after which the program is ended")
    parser.add_argument("--grace", type=float, default=15.0, help="seconds from SIGTERM to SIGKILL")
    parser.add_argument("--quiet", action="store_true", help="write the program's output to the log only")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="-- and the program with its arguments")
    options = parser.parse_args(arguments)
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program:
        parser.error("no program given behind --")
    return supervise(program, Limits(options.grace, options.stall), options.log, options.quiet)


if __name__ == "__main__":
    sys.exit(main())
