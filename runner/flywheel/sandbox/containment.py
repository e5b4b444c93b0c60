"""How a process is contained: a zygote (`enter`), then each program (`contain`); or we ourselves (`confine`).

    namespaces   its own users, processes, network, IPC and mounts: a root of nothing but the interpreter and the
                 system's libraries, read-only, with a scratch folder per program on a tmpfs with a quota
    landlock     the host's files, of which only those can be read and none written
    bubblewrap   the same view as `namespaces`, made by bwrap before us, without the scratch folder
    none         rlimits

and in each but the last: an unused user where we were root, no capabilities, rlimits, and the seccomp filter of
`syscalls`, which allows no new process. So the limit on address space is a limit on all the program's memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flywheel.sandbox import kernel, syscalls
from flywheel.sandbox.outcome import Limits, Tier
from flywheel.sandbox.view import DEVICES, SYSTEM, libraries, readable

SCRATCH = "/tmp"
_MOUNT_POINTS = ("/tmp", "/run", "/var", "/mnt")
_UNUSED_USERS = range(61184, 65520)
_FILES, _THREADS, _INODES = 64, 512, 512
_ALIAS_FD = 500
# 0 would still start a core handler that reads from a pipe; 1 stops both (core(5)).
_NO_CORE = 1


@dataclass(frozen=True)
class Ground:
    """Where a zygote stands after `enter`."""

    tier: Tier
    libraries: tuple[str, ...]
    """Folders of the standard library, as they can be reached now."""
    threads: int
    """RLIMIT_NPROC for a program."""
    landlocked: bool
    kept: tuple[int, ...] = ()
    """Descriptors by which the libraries are reached."""


def enter(tier: Tier) -> Ground:
    """Bring this process, a zygote to be, as far as it can go before the programs. Irrevocable.

    In `namespaces` the next fork is process 1 of its namespace. Raises OSError where the machine does not allow it.
    """
    if sys.platform != "linux" and tier != "none":
        raise OSError("only Linux has it")
    kept: tuple[int, ...] = ()
    found = libraries()
    if tier == "namespaces":
        _enter_namespaces()
    elif tier != "none":
        kernel.adopt_orphans()
        if os.geteuid() == 0:
            found, kept = _reach(found)
            _become(_unused_user())
    if tier != "none":
        syscalls.contained(kernel.MACHINE, os.getpid(), _files(tier))  # what is kept of it, every fork then has
    threads = _THREADS + (_threads_now() if tier == "landlock" else 0)
    return Ground(tier, found, threads, tier == "landlock" or _has_landlock(tier), kept)


def contain(ground: Ground, limits: Limits, cpu_seconds: int | None) -> None:
    """Contain this process, a fork of the zygote, for good. Raises OSError where that fails."""
    if ground.tier == "namespaces":
        _fresh_scratch(limits)
    os.chdir(SCRATCH if ground.tier == "namespaces" else "/")
    _limit(ground, limits, cpu_seconds)
    if ground.tier == "none":
        return
    writable = [SCRATCH] if ground.tier == "namespaces" else []
    kernel.no_new_privileges()
    if ground.landlocked:
        whole = ["/"] if ground.tier == "namespaces" else [*ground.libraries, *SYSTEM, *DEVICES]
        kernel.landlock(whole, [*writable, "/dev/null"])
    kernel.drop_capabilities()
    kernel.seccomp(syscalls.contained(kernel.MACHINE, os.getpid(), _files(ground.tier)))


def _files(tier: Tier) -> syscalls.Files:
    return "change" if tier == "namespaces" else "open"


def confine(read: Sequence[Path] = (), memory_bytes: int | None = None) -> Tier:
    """Contain *this* process, and all it does from now on, as far as the kernel allows. Irrevocable.

    Left are: computing, threads, descriptors that are open, and reading the interpreter's and the system's libraries,
    installed packages, what the process is told of its cgroup (DuckDB asks), and `read`. `memory_bytes` limits the
    address space. Call it before threads are started (DuckDB starts eight with a connection): older threads stay free
    to read any file.
    Returns `landlock`, or `none` where the kernel lacks Landlock or seccomp, and then neither is applied, or where
    other threads run already.
    """
    _lower(resource.RLIMIT_CORE, _NO_CORE)
    if memory_bytes is not None:
        _lower(resource.RLIMIT_AS, memory_bytes)
    if sys.platform != "linux" or not _has_landlock("landlock") or kernel.MACHINE not in syscalls.MACHINES:
        return "none"
    alone = len(os.listdir("/proc/self/task")) == 1
    kernel.no_new_privileges()
    kernel.landlock([*readable(), *DEVICES, *_installed(), *_CGROUP, *map(str, read)], ["/dev/null"])
    kernel.drop_capabilities()
    kernel.seccomp(syscalls.contained(kernel.MACHINE, os.getpid(), "read"), all_threads=True)
    return "landlock" if alone else "none"


_CGROUP = ("/proc/self/cgroup", "/sys/fs/cgroup", "/proc/meminfo", "/sys/devices/system/cpu")


def _installed() -> list[str]:
    """Where packages are, ours included."""
    folders = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return [sys.base_prefix, *folders, str(Path(__file__).parents[1])]


def _limit(ground: Ground, limits: Limits, cpu_seconds: int | None) -> None:
    wanted = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_FSIZE: limits.disk_bytes,
        resource.RLIMIT_NOFILE: _FILES,
        resource.RLIMIT_CORE: _NO_CORE,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if ground.tier != "none":
        wanted[resource.RLIMIT_NPROC] = ground.threads
    if cpu_seconds is not None:
        wanted[resource.RLIMIT_CPU] = cpu_seconds
    for name, value in wanted.items():
        _lower(name, value)


def _lower(name: int, value: int) -> None:
    """A hard limit that is lower already stays: not even root in a container may raise it."""
    hard = resource.getrlimit(name)[1]
    lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(name, (lower, lower))


def _fresh_scratch(limits: Limits) -> None:
    """In a mount namespace of this process alone: it goes when the process goes, with all that was written."""
    kernel.unshare(kernel.NEW_MOUNTS)
    quota = f"size={max(limits.disk_bytes, 1)},nr_inodes={_INODES},mode=700"  # 0 would be no limit
    kernel.mount("tmpfs", SCRATCH, "tmpfs", kernel.NOSUID | kernel.NODEV, quota)


# --- namespaces ---


def _enter_namespaces() -> None:
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.geteuid() == 0 and _own_mounts():
            user = _unused_user()
            # Before the user is dropped: the interpreter may be where only root can go.
            _build_root()
            _become(user)
            _own_namespaces(proc)
        else:
            if os.geteuid() == 0:
                _become(_unused_user())
            _own_namespaces(proc)
            _build_root()
    finally:
        os.close(proc)


def _own_mounts() -> bool:
    """False where root is not allowed to, as in many containers; an ordinary user may be."""
    try:
        kernel.unshare(kernel.NEW_MOUNTS)
    except PermissionError:
        return False
    return True


def _own_namespaces(proc: int) -> None:
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(
        kernel.NEW_USER | kernel.NEW_PID | kernel.NEW_NET | kernel.NEW_MOUNTS | kernel.NEW_IPC | kernel.NEW_UTS
    )
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        fd = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _build_root() -> None:
    """Make `/` a read-only tmpfs that shows the libraries and four devices, and let go of the old one."""
    shown = {path: os.path.realpath(path) for path in (*readable(), *DEVICES)}
    base = next(path for path in _MOUNT_POINTS if os.path.isdir(path))
    os.umask(0o022)
    kernel.mount("", "/", "", kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("tmpfs", base, "tmpfs", kernel.NOSUID | kernel.NODEV, "size=1m,nr_inodes=1k,mode=755")
    os.mkdir(f"{base}/old")
    kernel.pivot_root(base, f"{base}/old")
    os.chdir("/")
    for path, source in shown.items():
        _show(f"/old{source}", path)
    os.makedirs(SCRATCH, exist_ok=True)
    kernel.unmount("/old")
    os.rmdir("/old")
    kernel.seal_mount("/", kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV, recursive=False)
    os.umask(0o077)


def _show(source: str, path: str) -> None:
    if os.path.exists(path):  # inside a folder that is shown already
        return
    device = path in DEVICES
    if os.path.isdir(source):
        os.makedirs(path)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(source, path, "", kernel.BIND | kernel.RECURSIVE)
    guard = kernel.ATTR_NOEXEC if device else kernel.ATTR_RDONLY | kernel.ATTR_NODEV
    kernel.seal_mount(path, guard | kernel.ATTR_NOSUID, recursive=True)


# --- users ---


def _become(user: int) -> None:
    """From root to an ordinary user with no other groups."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kernel.dumpable(True)  # else /proc/self stays root's


def _unused_user() -> int:
    """One that has no account and owns no process."""
    import pwd

    taken = {entry.pw_uid for entry in pwd.getpwall()} | {user for _, user in _processes()}
    return random.choice([user for user in _UNUSED_USERS if user not in taken])


def _processes() -> Iterator[tuple[str, int]]:
    """Every process's folder and user."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended
            yield f"/proc/{name}", os.stat(f"/proc/{name}").st_uid


def _threads_now() -> int:
    """RLIMIT_NPROC counts all threads of the user, wherever they are."""
    count, user = 0, os.geteuid()
    for folder, owner in _processes():
        if owner == user:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                count += len(os.listdir(f"{folder}/task"))
    return count


def _reach(folders: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names for the library's folders that another user can follow, where they lie in a folder of root's alone.

    A descriptor's name in /proc leads past the closed folder; modules already imported are told their new place.
    """
    names, kept = [], []
    for folder in folders:
        if _open_to_all(folder):
            names.append(folder)
            continue
        plain = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        fd = fcntl.fcntl(plain, fcntl.F_DUPFD_CLOEXEC, _ALIAS_FD)
        os.close(plain)
        kept.append(fd)
        names.append(f"/proc/self/fd/{fd}")
        _rename_imports(folder, names[-1])
    return tuple(names), tuple(kept)


def _open_to_all(folder: str) -> bool:
    return all(os.stat(path).st_mode & 0o001 for path in (folder, *map(str, Path(folder).parents)))


def _rename_imports(old: str, new: str) -> None:
    sys.path[:] = [path.replace(old, new, 1) for path in sys.path]
    for module in list(sys.modules.values()):
        places = getattr(module, "__path__", None)
        if isinstance(places, list):
            places[:] = [place.replace(old, new, 1) for place in places]
    sys.path_importer_cache.clear()


def _has_landlock(tier: Tier) -> bool:
    if tier == "none":
        return False
    try:
        kernel.landlock_abi()
    except OSError:
        return False
    return True


def die_with_zygote(zygote: int) -> None:
    if sys.platform == "linux":
        kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != zygote:  # it died before we asked
        os._exit(1)
