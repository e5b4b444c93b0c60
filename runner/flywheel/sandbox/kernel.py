"""Linux, by ctypes: namespaces, mounts, capabilities, Landlock, seccomp. A call that fails raises OSError.

Sources: unshare(2), mount(2), mount_setattr(2), pivot_root(2), capset(2), prctl(2), seccomp(2), landlock(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from collections.abc import Sequence

from flywheel.sandbox import syscalls

NEW_USER, NEW_PID, NEW_NET, NEW_MOUNTS, NEW_IPC, NEW_UTS = (
    0x10000000,
    0x20000000,
    0x40000000,
    0x00020000,
    0x08000000,
    0x04000000,
)
BIND, RECURSIVE, PRIVATE, NOSUID, NODEV, NOEXEC = 4096, 16384, 1 << 18, 2, 4, 8
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 1, 2, 4, 8
_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000

_PDEATHSIG, _DUMPABLE, _SUBREAPER, _NO_NEW_PRIVS = 1, 4, 36, 38
_SECCOMP_FILTER, _SECCOMP_ALL_THREADS = 1, 1
_MALLOC_ARENAS = -8

MACHINE = platform.machine()
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _numbered(name: str, *arguments: int) -> int:
    number = syscalls.ours(MACHINE)[name]
    return _checked(_libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments)), name)


def _prctl(what: str, option: int, *arguments: int) -> int:
    words = (ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4])
    return _checked(_libc.prctl(ctypes.c_int(option), *words), what)


def die_with_parent(signal: int) -> None:
    """Forgotten when the process changes its user; ends with the parent's *thread*."""
    _prctl("prctl PDEATHSIG", _PDEATHSIG, signal)


def dumpable(yes: bool) -> None:
    """A process that is not leaves no core, and nobody of its user may trace it."""
    _prctl("prctl DUMPABLE", _DUMPABLE, int(yes))


def adopt_orphans() -> None:
    _prctl("prctl SUBREAPER", _SUBREAPER, 1)


def no_new_privileges() -> None:
    _prctl("prctl NO_NEW_PRIVS", _NO_NEW_PRIVS, 1)


def few_malloc_arenas() -> None:
    """Each arena reserves 64 MB of address space: under a limit of 512 MB few threads would be left."""
    with contextlib.suppress(AttributeError):  # only glibc has it, and only glibc needs it
        _libc.mallopt(_MALLOC_ARENAS, 2)


def unshare(flags: int) -> None:
    _numbered("unshare", flags)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    texts = [text.encode() if text else None for text in (source, target, kind)]
    result = _libc.mount(*texts, ctypes.c_ulong(flags), data.encode() or None)
    _checked(result, f"mount {kind or source} on {target}")


def unmount(target: str) -> None:
    """Out of sight at once; gone when nobody uses it."""
    _checked(_libc.umount2(target.encode(), _DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    names = [ctypes.create_string_buffer(path.encode()) for path in (new, old)]
    _numbered("pivot_root", *(ctypes.addressof(name) for name in names))


def seal_mount(path: str, attributes: int, recursive: bool) -> None:
    """Add attributes (read-only, …) to the mount, and to those below it; never takes any away."""
    wanted = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, 0), 32)
    name = ctypes.create_string_buffer(path.encode())
    flags = _AT_RECURSIVE if recursive else 0
    _numbered("mount_setattr", _AT_FDCWD, ctypes.addressof(name), flags, ctypes.addressof(wanted), 32)


def drop_capabilities() -> None:
    version_3 = 0x20080522
    header = ctypes.create_string_buffer(struct.pack("=Ii", version_3, 0), 8)
    nothing = ctypes.create_string_buffer(24)
    _numbered("capset", ctypes.addressof(header), ctypes.addressof(nothing))


# --- seccomp ---


def seccomp(program: bytes, all_threads: bool = False) -> None:
    """Install a filter (`struct sock_filter[]`) on this thread and on those it starts, or on all of the process.

    Needs no_new_privileges.
    """
    steps = ctypes.create_string_buffer(program, len(program))
    whole = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(steps)), 16)
    flags = _SECCOMP_ALL_THREADS if all_threads else 0
    _numbered("seccomp", _SECCOMP_FILTER, flags, ctypes.addressof(whole))


# --- Landlock ---

_READ_FILE, _READ_FOLDER, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_OF_FILES = 1 | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_FIRST_WITH_TRUNCATE = 3
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15}
_ALL_RIGHTS = 16
_PATH_BENEATH = 1
_VERSION = 1


def landlock_abi() -> int:
    """The version of Landlock. Raises OSError where the kernel has none, or below 3, which lets files be emptied."""
    abi = _numbered("landlock_create_ruleset", 0, 0, _VERSION)
    if abi < _FIRST_WITH_TRUNCATE:
        raise OSError(f"Landlock ABI {abi}: version 3 (Linux 6.2) is the first that guards files against being emptied")
    return abi


def landlock(read: Sequence[str], write: Sequence[str]) -> None:
    """This thread, and those it starts, may only read below `read` and do anything but run programs below `write`.

    Paths that do not exist are left out. No TCP from ABI 4 on; no signals and no abstract sockets to anyone outside
    from ABI 6 on.
    """
    abi = landlock_abi()
    rights = (1 << _RIGHTS_BY_ABI.get(abi, _ALL_RIGHTS)) - 1
    attributes = struct.pack("=QQQ", rights, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    buffer = ctypes.create_string_buffer(attributes, 24)
    rules = _numbered("landlock_create_ruleset", ctypes.addressof(buffer), size, 0)
    try:
        for path in read:
            _allow(rules, path, _READ_FILE | _READ_FOLDER)
        for path in write:
            _allow(rules, path, rights & ~1)
        _numbered("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # nothing there that could be read anyway
        return
    try:
        folder = os.stat(fd).st_mode & 0o170000 == 0o040000
        wanted = rights if folder else rights & _OF_FILES
        buffer = ctypes.create_string_buffer(struct.pack("=Qi", wanted, fd), 12)
        _numbered("landlock_add_rule", rules, _PATH_BENEATH, ctypes.addressof(buffer), 0)
    finally:
        os.close(fd)
