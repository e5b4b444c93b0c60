"""Hostile programs. Each tries one thing on the host; `ESCAPED` on its output means that it worked.

The numbers are those of the catalogue the sandbox was designed against (docs/sandbox.md).
"""

from __future__ import annotations

from typing import NamedTuple

# What every program can use: `tried(f)` reports an escape where `f` succeeds.
PRELUDE = """
import ctypes, errno, os, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def tried(attack, *arguments, **named):
    try:
        found = attack(*arguments, **named)
    except Exception as error:
        print(type(error).__name__, error)
    else:
        print("ESCAPED", found)
def call(name, *arguments):
    numbers = {CALLS}
    number = numbers[os.uname().machine][name]
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments)) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""

_X86 = {
    "ptrace": 101, "process_vm_readv": 310, "unshare": 272, "mount": 165, "io_uring_setup": 425, "bpf": 321,
    "keyctl": 250, "perf_event_open": 298, "userfaultfd": 323, "memfd_create": 319, "shmget": 29, "setns": 308,
    "chroot": 161, "pivot_root": 155, "open_by_handle_at": 304, "name_to_handle_at": 303, "inotify_init1": 294,
    "pidfd_open": 434, "tkill": 200, "rt_sigqueueinfo": 129, "mq_open": 240, "personality": 135, "add_key": 248,
    "kexec_load": 246, "init_module": 175, "setpriority": 141, "sched_setaffinity": 203, "execve": 59, "clone3": 435,
    "kcmp": 312, "swapon": 167, "reboot": 169, "sethostname": 170, "settimeofday": 164, "acct": 163, "syslog": 103,
    "fanotify_init": 300, "io_setup": 206, "modify_ldt": 154, "process_madvise": 440, "openat2": 437,
}  # fmt: skip
_ARM = {
    "ptrace": 117, "process_vm_readv": 270, "unshare": 97, "mount": 40, "io_uring_setup": 425, "bpf": 280,
    "keyctl": 219, "perf_event_open": 241, "userfaultfd": 282, "memfd_create": 279, "shmget": 194, "setns": 268,
    "chroot": 51, "pivot_root": 41, "open_by_handle_at": 265, "name_to_handle_at": 264, "inotify_init1": 26,
    "pidfd_open": 434, "tkill": 130, "rt_sigqueueinfo": 138, "mq_open": 180, "personality": 92, "add_key": 217,
    "kexec_load": 104, "init_module": 105, "setpriority": 140, "sched_setaffinity": 122, "execve": 221, "clone3": 435,
    "kcmp": 272, "swapon": 224, "reboot": 142, "sethostname": 161, "settimeofday": 170, "acct": 89, "syslog": 116,
    "fanotify_init": 262, "io_setup": 0, "modify_ldt": 435, "process_madvise": 440, "openat2": 437,
}  # fmt: skip
REFUSED_CALLS = tuple(_X86)
_CALLS = repr({"x86_64": _X86, "aarch64": _ARM})


class Hostile(NamedTuple):
    name: str
    program: str
    statuses: str = "ok"
    """How it may end."""


def program_of(case: Hostile, names: dict[str, object]) -> str:
    """The program, told what there is on the host."""
    told = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    return PRELUDE.replace("{CALLS}", _CALLS) + told + case.program


NETWORK = Hostile(
    "13 network",
    "def connected(family, kind, address):\n"
    "    made = socket.socket(family, kind)\n"
    "    made.settimeout(0.2)\n"
    "    made.connect(address)\n"
    "    made.send(b'x')\n"
    "unix = socket.AF_UNIX\n"
    "for family, kind, address in (\n"
    "    (socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', tcp)),\n"
    "    (socket.AF_INET, socket.SOCK_DGRAM, ('127.0.0.1', udp)),\n"
    "    (unix, socket.SOCK_STREAM, folder + '/stream'), (unix, socket.SOCK_DGRAM, folder + '/datagram'),\n"
    "    (unix, socket.SOCK_STREAM, '\\0' + folder), (socket.AF_INET, socket.SOCK_RAW, ('127.0.0.1', 0)),\n"
    "    (socket.AF_NETLINK, socket.SOCK_RAW, (0, 0)), (socket.AF_PACKET, socket.SOCK_RAW, ('lo', 0)),\n"
    "): tried(connected, family, kind, address)\n"
    "tried(socket.getaddrinfo, 'example.org', 80)\n"
    "tried(lambda: socket.socketpair(unix, socket.SOCK_DGRAM)[0].sendto(b'x', folder + '/datagram'))\n"
    "tried(lambda: socket.socketpair()[0].sendto(b'x', folder + '/datagram'))\n",
)

CASES = (
    Hostile("1 fork bomb", "for _ in range(400): tried(os.fork)"),
    Hostile(
        "1 processes by every other way",
        "tried(subprocess.run, ['/bin/true'])\n"
        "tried(os.posix_spawn, '/bin/true', ['true'], {})\n"
        "tried(os.execv, '/bin/true', ['true'])\n"
        "import multiprocessing; tried(multiprocessing.get_context('fork').Process(target=print).start)\n"
        "print('ESCAPED' if os.system('true') == 0 else '')\n"
        "tried(call, 'clone3', 0, 0)\n",
    ),
    Hostile(
        "1 thread bomb",
        "threading.stack_size(65536)\n"
        "try:\n"
        "    for n in range(10000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "except RuntimeError: pass\n"
        "print('ESCAPED' if n > 5000 else n)\n",
    ),
    Hostile("2 endless loop", "while True: pass", "timeout"),
    Hostile("3 sleep", "time.sleep(1e6)", "timeout"),
    Hostile("4 C code that holds the GIL", "10 ** 10 ** 8", "timeout"),
    Hostile("5 ReDoS", "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')", "timeout"),
    Hostile(
        "6 every signal ignored",
        "import signal\n"
        "for number in range(1, 65):\n"
        "    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "while True: pass\n",
        "timeout",
    ),
    Hostile("7 4 GB", "bytearray(4 << 30)", "memory"),
    Hostile("7 4 GB bit by bit", "kept = []\nwhile True: kept.append(bytearray(1 << 20))", "memory"),
    Hostile(
        "8 300 MB in each of 8 threads",
        "kept, failed = [], []\n"
        "def take():\n"
        "    try: kept.append(b'x' * (300 << 20))\n"
        "    except MemoryError: failed.append(1)\n"
        "threads = [threading.Thread(target=take) for _ in range(8)]\n"
        "for t in threads: t.start()\n"
        "for t in threads: t.join()\n"
        "print('ESCAPED' if len(kept) > 1 else 'held')\n",
        "ok memory failed",
    ),
    Hostile(
        "9 files",
        "for path in (secret, '/etc/passwd', '/etc/shadow', '/root/.bashrc', '/var/log', folder, '/home',\n"
        "             '/proc', f'/proc/{pid}/environ', '/proc/1/cmdline', '/proc/self/mem', '/proc/self/environ'):\n"
        "    tried(os.listdir if os.path.isdir(path) else open, path)\n",
    ),
    Hostile(
        "10 secrets of the environment",
        "found = [dict(os.environ)]\n"
        "for who in ('self', os.getppid(), pid, 1):\n"
        "    try: found.append(open(f'/proc/{who}/environ', 'rb').read())\n"
        "    except OSError: pass\n"
        "print('ESCAPED' if 'SECRET' in repr(found) or found[0] else 'clean')\n",
    ),
    Hostile(
        "10 secrets in memory",
        "import gc\n"
        "words = [o for o in gc.get_objects() if type(o) in (str, bytes, dict, list)]\n"
        "print('ESCAPED' if 'SECRET-IN' in repr([w for w in words if type(w) is str]) else 'clean')\n",
    ),
    Hostile(
        "11 inherited descriptors",
        "for fd in range(3, 256):\n"
        "    try: os.fstat(fd)\n"
        "    except OSError: continue\n"
        "    print('ESCAPED', fd)\n",
    ),
    Hostile(
        "12 writing outside",
        "tried(open, secret, 'w')\n"
        "tried(open, secret, 'a')\n"
        "tried(open, secret, 'r+')\n"
        "tried(os.truncate, secret, 0)\n"
        "for place in (folder, '/dev/shm', '/var/tmp', '/run', '/home', '/usr/lib', '/lib', '/', '/etc', '/dev'):\n"
        "    tried(open, place + '/planted', 'w')\n"
        "    tried(os.mkdir, place + '/planted')\n"
        "for change in (\n"
        "    os.unlink, lambda p: os.chmod(p, 0), lambda p: os.utime(p, (0, 0)), lambda p: os.rename(p, p + '1'),\n"
        "    lambda p: os.chown(p, 1, 1), lambda p: os.link(p, p + '2'), lambda p: os.setxattr(p, 'user.a', b''),\n"
        "):\n"
        "    tried(change, secret)\n",
    ),
    Hostile(
        "12 writing through a link",
        "def through():\n"
        "    os.symlink(secret, 'link')\n"
        "    return open('link', 'w')\n"
        "tried(through)\n",
    ),
    NETWORK,
    Hostile(
        "14 killing others",
        "for number in (9, 15, 0):\n"
        "    for target in (pid, os.getppid(), 1, -1, 0):\n"
        "        if target: tried(os.kill, target, number)\n"
        "    tried(os.killpg, 0, number)\n"
        "    tried(call, 'tkill', os.getppid() or 1, number)\n"
        "    tried(call, 'rt_sigqueueinfo', os.getppid() or 1, number, 0)\n"
        "tried(call, 'pidfd_open', os.getppid() or 1, 0)\n",
    ),
    Hostile(
        "14 signals by the back door",
        "import fcntl\n"
        "tried(fcntl.fcntl, 0, fcntl.F_SETOWN, os.getppid() or 1)\n"
        "tried(fcntl.fcntl, 0, 15, b'\\0' * 8)\n",
    ),
    Hostile(
        "14 limits and priorities of others",
        "import resource\n"
        "tried(resource.prlimit, os.getppid() or 1, resource.RLIMIT_CPU)\n"
        "tried(call, 'setpriority', 2, 0, -5)\n"
        "tried(resource.setrlimit, resource.RLIMIT_AS, (-1, -1))\n"
        "tried(resource.setrlimit, resource.RLIMIT_NOFILE, (5000, 5000))\n",
    ),
    Hostile("15 tracing", "tried(call, 'ptrace', 16, os.getppid() or 1, 0, 0)\ntried(call, 'ptrace', 0, 0, 0, 0)"),
    Hostile("15 other memory", "tried(call, 'process_vm_readv', os.getppid() or 1, 0, 0, 0, 0, 0)"),
    Hostile(
        "16 the kernel's other doors",
        "for name in {REFUSED}:\n"
        "    try: call(name, 0x10000000, 0, 0, 0, 0)\n"
        "    except OSError as error:\n"
        "        if error.errno not in (errno.EPERM, errno.ENOSYS): print('ESCAPED', name, error)\n"
        "    else: print('ESCAPED', name)\n".replace("{REFUSED}", repr(REFUSED_CALLS)),
    ),
    Hostile(
        "16 the 32-bit door",
        "if os.uname().machine == 'x86_64':\n"
        "    import mmap\n"
        "    page = mmap.mmap(-1, 4096, prot=7)\n"
        "    page.write(bytes.fromhex('b814000000cd80c3'))\n"
        "    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()\n"
        "    print('ESCAPED')\n"
        "else: os.abort()\n",
        "crash",
    ),
    Hostile("17 1 GB of output", "for _ in range(1024): sys.stdout.write('x' * (1 << 20))", "output"),
    Hostile("17 1 GB of errors", "for _ in range(1024): sys.stderr.write('x' * (1 << 20))", "output"),
    Hostile("17 output to the raw descriptor", "while True: os.write(1, b'x' * 65536)", "output"),
    Hostile(
        "19 daemon that holds the pipe",
        "try:\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0: time.sleep(60)\n"
        "    print('ESCAPED')\n"
        "except OSError: pass\n",
    ),
    Hostile("20 zombies", "for _ in range(30):\n    tried(lambda: os.fork() or os._exit(0))"),
    Hostile(
        "21 disk",
        "def fill():\n"
        "    for n in range(100):\n"
        "        with open(f'f{n}', 'wb') as file: file.write(b'x' * (4 << 20))\n"
        "tried(fill)\n",
    ),
    Hostile("21 a large file", "def large():\n  with open('f', 'wb') as f: f.write(b'x' * (64 << 20))\ntried(large)"),
    Hostile("22 inodes", "def make():\n    for n in range(20000): open(f'i{n}', 'w').close()\ntried(make)"),
    Hostile(
        "23 recursion without limit",
        "sys.setrecursionlimit(10 ** 9)\n"
        "class C: __repr__ = lambda self: repr(self)\n"
        "repr(C())\n",
        "crash memory failed",  # from 3.14 on the interpreter looks after its own stack
    ),
    Hostile("24 NULL", "ctypes.string_at(0)", "crash"),
    Hostile("24 abort", "os.abort()", "crash"),
    Hostile("25 5,000 descriptors", "def fds(): return [os.dup(0) for _ in range(5000)]\ntried(fds)"),
    Hostile(
        "27 TIOCSTI",
        "import fcntl\n"
        "for fd in (0, 1, 2): tried(fcntl.ioctl, fd, 0x5412, b'x')\n"
        "tried(open, '/dev/tty', 'w')\n",
    ),
    Hostile(
        "28 special files",
        "def sparse():\n"
        "    with open('big', 'wb') as file: file.truncate(100 << 30)\n"
        "tried(sparse)\n"
        "tried(os.mknod, 'device', 0o20666, os.makedev(1, 1))\n"
        "tried(os.mkfifo, folder + '/fifo')\n",
    ),
    Hostile(
        "29 a module in the working folder",
        "try: open('wave.py', 'w').write('print(\"ESCAPED\")')\n"
        "except OSError: pass\n"
        "import wave, json\n"
        "print('ESCAPED' if '' in sys.path or os.getcwd() in sys.path else '')\n",
    ),
    Hostile("leaving early", "print('half'); os._exit(0)"),
    Hostile("leaving early with a code", "os._exit(7)", "failed"),
    Hostile("a lie about the parent", "libc.prctl(1, 0)\nprint('ESCAPED' if libc.prctl(1, 0) == 0 else '')"),
    Hostile("ten million lines in memory", "print('x\\n' * 10_000_000)", "output"),
    Hostile("compiler bomb", "eval('(' * 100000)", "failed memory crash output"),
    Hostile("unpickled", "import pickle; tried(pickle.loads, b'cposix\\nfork\\n(tR.')"),
)  # fmt: skip
