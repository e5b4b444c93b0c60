"""The system calls that contained code may make, as a seccomp filter: everything not named here is refused.

The numbers are the kernel's, for x86_64 and aarch64 (`name x86_64 aarch64`, `-` where that machine has none). Refused
calls give EPERM; those newer than the list give ENOSYS, so that the C library falls back to what it did before them
(clone3 to clone, whose flags a filter can read). Another calling convention kills: its numbers mean other calls.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

# What a program needs that computes, with threads, and reads files: which files, Landlock and mounts say.
_READING = """
read 0 63, write 1 64, open 2 -, openat 257 56, close 3 57, close_range 436 436, lseek 8 62, pread64 17 67
pwrite64 18 68, readv 19 65, writev 20 66, preadv 295 69, pwritev 296 70, preadv2 327 286, pwritev2 328 287
stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, access 21 -, faccessat 269 48, faccessat2 439 439
readlink 89 -, readlinkat 267 78, getdents 78 -, getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50
statfs 137 43, fstatfs 138 44, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, poll 7 -, ppoll 271 73
select 23 -, pselect6 270 72, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -
epoll_pwait 281 22, epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, sendfile 40 71, copy_file_range 326 285
fadvise64 221 223, flock 73 32, fsync 74 82, fdatasync 75 83, mmap 9 222, munmap 11 215, mprotect 10 226
mremap 25 216, madvise 28 233, brk 12 214, msync 26 227, membarrier 324 283, futex 202 98, futex_waitv 449 449
set_robust_list 273 99, rseq 334 293, set_tid_address 218 96, rt_sigaction 13 134
rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130 133
sigaltstack 131 132, pause 34 -, restart_syscall 219 128, alarm 37 -, setitimer 38 103, getitimer 36 102
nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169
time 201 -, times 100 153, getrusage 98 165, exit 60 93, exit_group 231 94, wait4 61 260, waitid 247 95
sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121, sched_getscheduler 145 120
sched_get_priority_max 146 125, sched_get_priority_min 147 126, getpriority 140 141, getcpu 309 168, getpid 39 172
getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getgroups 115 158
getresuid 118 148, getresgid 120 150, getpgid 121 155, getpgrp 111 -, getsid 124 156, getrlimit 97 163
setrlimit 160 164, umask 95 166, uname 63 160, sysinfo 99 179, getrandom 318 278, shutdown 48 210, getsockopt 55 209
setsockopt 54 208, getsockname 51 204, getpeername 52 205, recvfrom 45 207
"""

# Where the scratch folder is all that can be written. Landlock knows neither modes nor times of files.
_WRITING = """
mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 38
renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, truncate 76 45, ftruncate 77 46
fallocate 285 47, creat 85 -, chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, utime 132 -
utimes 235 -, utimensat 280 88, futimesat 261 -, sync_file_range 277 84
"""

# Allowed with some arguments only: see `_judged`.
_JUDGED = """
clone 56 220, kill 62 129, tgkill 234 131, prctl 157 167, prlimit64 302 261, fcntl 72 25, ioctl 16 29
socketpair 53 199, sendto 44 206
"""

# What this package itself calls by number.
_OURS = """
unshare 272 97, pivot_root 155 41, mount_setattr 442 442, capset 126 91, seccomp 317 277
landlock_create_ruleset 444 444, landlock_add_rule 445 445, landlock_restrict_self 446 446
"""

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_FIRST_NEW = 424  # pidfd_send_signal, the first number that all machines share
_X32 = 0x40000000

_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE = 0, 4


Files = Literal["read", "open", "change"]
"""`read`: open for reading only; `open`: however Landlock and mounts allow; `change`: and rename, remove, resize."""


class UnknownMachine(OSError):
    """No system call numbers are known for this machine."""


class _Test(NamedTuple):
    """An argument's word, masked, must be `value`. `high`: its upper 32 bits."""

    argument: int
    value: int
    mask: int = 0xFFFFFFFF
    high: bool = False


_Rule = tuple[tuple[_Test, ...], ...]
"""Alternatives; one must hold, with all its tests."""


@cache
def numbers(machine: str, table: str) -> dict[str, int]:
    """Names to numbers. Raises UnknownMachine."""
    if machine not in MACHINES:
        raise UnknownMachine(errno.ENOSYS, f"no system call numbers for {machine!r}; known: {', '.join(MACHINES)}")
    column = MACHINES[machine][0] + 1
    rows = (entry.split() for line in table.strip().splitlines() for entry in line.split(","))
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def ours(machine: str) -> dict[str, int]:
    """The numbers of the calls that have no function in older C libraries. Raises UnknownMachine."""
    return numbers(machine, _OURS)


def contained(machine: str, pid: int, files: Files) -> bytes:
    """The filter for process `pid`: threads but no processes, signals to itself only, no socket that leads anywhere.

    Returns the BPF program (`struct sock_filter[]`). Raises UnknownMachine.
    """
    rules = _judged(pid)
    judged = [_judge(number, rules[name]) for name, number in numbers(machine, _JUDGED).items()]
    return b"".join([_border(machine), *judged, _constant(machine, files)])


@cache
def _constant(machine: str, files: Files) -> bytes:
    """What is the same for every process; kept, since it is most of the work."""
    allowed = numbers(machine, _READING) | (numbers(machine, _WRITING) if files == "change" else {})
    guarded = {name: rule for name, rule in _READ_ONLY.items() if files == "read" and name in allowed}
    body = [_judge(allowed[name], rule) for name, rule in guarded.items()]
    body += [_answer(number) for name, number in allowed.items() if name not in guarded]
    return b"".join([*body, _otherwise()])


def refusing(machine: str, names: tuple[str, ...]) -> bytes:
    """A filter that gives EPERM for these of our own calls and allows the rest: plays a lesser machine, for tests."""
    denied = [_when(ours(machine)[name], _return(_ERRNO | errno.EPERM)) for name in names]
    return b"".join([_border(machine), *denied, _return(_ALLOW)])


# neither O_WRONLY, O_RDWR, O_CREAT, O_TRUNC nor O_TMPFILE
_WRITES = 0o3 | 0o100 | 0o1000 | 0o20000000
_READ_ONLY: dict[str, _Rule] = {"open": ((_Test(1, 0, _WRITES),),), "openat": ((_Test(2, 0, _WRITES),),)}


def _judged(pid: int) -> dict[str, _Rule]:
    clone_thread, unix, stream = 0x10000, 1, 1
    return {
        "clone": ((_Test(0, clone_thread, clone_thread),),),
        "kill": ((_Test(0, pid),),),
        "tgkill": ((_Test(0, pid),),),
        "prlimit64": ((_Test(0, 0),), (_Test(0, pid),)),
        # a connected pair and nothing else (asyncio wakes itself up with one); sendto must name no address
        "socketpair": ((_Test(0, unix), _Test(1, stream, 0xF)),),
        "sendto": ((_Test(4, 0), _Test(4, 0, high=True)),),
        # names of threads and of memory, dumpable
        "prctl": tuple((_Test(0, option),) for option in (3, 15, 16, 0x53564D41)),
        # duplicates, flags, locks; not owners (they would send signals), nor the size of pipes
        "fcntl": tuple((_Test(1, command),) for command in (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)),
        # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; not TIOCSTI
        "ioctl": tuple((_Test(1, request),) for request in (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
    }


def _instruction(code: int, value: int, when: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when, otherwise, value)


def _return(action: int) -> bytes:
    return _instruction(_RETURN, action)


def _border(machine: str) -> bytes:
    """Kill what calls by another machine's convention; then load the number."""
    steps = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, MACHINES[machine][1], when=1),
        _return(_KILL),
        _instruction(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        steps += [_instruction(_AT_LEAST, _X32, otherwise=1), _return(_KILL)]
    return b"".join(steps)


def _when(number: int, block: bytes) -> bytes:
    return _instruction(_EQUAL, number, otherwise=len(block) // 8) + block


def _answer(number: int) -> bytes:
    return _when(number, _return(_ALLOW))


def _judge(number: int, rule: _Rule) -> bytes:
    alternatives = b"".join(b"".join(_alternative(tests)) for tests in rule)
    return _when(number, alternatives + _return(_ERRNO | errno.EPERM))


def _alternative(tests: tuple[_Test, ...]) -> Iterator[bytes]:
    for left, test in zip(range(len(tests) - 1, -1, -1), tests, strict=True):
        yield _instruction(_LOAD, 16 + 8 * test.argument + (4 if test.high else 0))  # little-endian, both machines
        yield _instruction(_AND, test.mask)
        yield _instruction(_EQUAL, test.value, otherwise=3 * left + 1)
    yield _return(_ALLOW)


def _otherwise() -> bytes:
    steps = (
        _instruction(_AT_LEAST, _FIRST_NEW, otherwise=1),
        _return(_ERRNO | errno.ENOSYS),
        _return(_ERRNO | errno.EPERM),
    )
    return b"".join(steps)
