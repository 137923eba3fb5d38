"""Walls around a student's process, built from what Linux offers without asking for rights.

A *house* is built once, for the template process, before it imports anything of weight: user, mount, IPC, network and
UTS namespaces whose root holds the Python it runs, read-only, and nothing else of the machine. A *cell* is built in
every fork of the template: PID, mount and IPC namespaces, a fresh /tmp, no privileges, limits, Landlock and seccomp.

For root the namespaces are made with root's own rights and the cell then belongs to an unused user; for an ordinary
user everything happens inside a user namespace. See namespaces(7), pivot_root(2), landlock(7), seccomp(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import shutil
import signal
import site
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from autograder.errors import CourseError

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG = 4, 24, 38, 1
SYS_PIVOT_ROOT, SYS_CAPSET = {"x86_64": (155, 126), "aarch64": (41, 91)}.get(os.uname().machine, (0, 0))
# What a root's cells run as: a user of its own each, whose processes nobody else's count against. No account is needed;
# the second range is for a root who is one only inside a user namespace of 65,536 users.
UNUSED_USERS = ((0x6000_0000, 0x1000_0000), (61_000, 4_000))
TMP_SIZE = "128m"
RESERVE = 2**28  # bytes of memory that cells leave to what comes after them, however much they hoard
LIBRARY = Path("/course")  # where the part of ml_course that homework may use is seen

_libc = ctypes.CDLL(None, use_errno=True)


class _House:
    """What has to be remembered of the time before the walls: whether root's own rights are to be given up."""

    root = False


_house = _House()


class NoCage(Exception):
    """This machine, or this user on it, cannot build that cage."""


@dataclass(frozen=True)
class Limits:
    """What a cell may use at most. Memory counts from what the template already has mapped."""

    megabytes: int = 2048
    processes: int = 32
    file_megabytes: int = 64
    open_files: int = 256


def call(name: str, *arguments) -> int:
    """A libc function by name; `OSError` when it fails."""
    result = getattr(_libc, name)(*arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def mount(source: str, target: str | Path, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [text.encode() if text is not None else None for text in (source, str(target), kind)]
    call("mount", *encoded, ctypes.c_ulong(flags), options.encode() if options else None)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process when the one that made it ends."""
    call("prctl", PR_SET_PDEATHSIG, number, 0, 0, 0)


# The house.


def enter_house(library: str | Path | None = None) -> None:
    """Shut the calling, single-threaded process off from network, files and other users' IPC. `NoCage` if it cannot."""
    uid, gid = os.getuid(), os.getgid()
    _house.root = uid == 0 and not in_user_namespace()
    try:
        if uid == 0:
            call("unshare", NEWNS | NEWIPC | NEWNET | NEWUTS)
        else:
            call("unshare", NEWUSER | NEWNS | NEWIPC | NEWNET | NEWUTS)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        build_root(Path(library) if library else None)
    except OSError as error:
        raise NoCage(f"namespaces: {error.strerror}") from error


def python_folders() -> list[Path]:
    """What a Python with its packages needs to run: the interpreter, its libraries, the system's shared ones."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), *map(Path, site.getsitepackages())}
    folders |= {Path(path) for path in sysconfig.get_paths().values()}
    folders |= {Path(f"/{name}") for name in ("usr", "lib", "lib64", "bin", "sbin", "etc/ld.so.cache", "etc/localtime")}
    chosen: list[Path] = []
    for folder in sorted(path for path in folders if path.exists()):
        if not any(folder.is_relative_to(parent) for parent in chosen):
            chosen.append(folder)
    return chosen


def build_root(library: Path | None) -> None:
    """A new root on a tmpfs: read-only binds of the folders above, the library at /course, a few devices, a /tmp."""
    root = Path("/tmp")  # any folder that exists everywhere: it is covered by a tmpfs of our own
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    kept = {path: os.open(path, os.O_PATH) for path in python_folders()}
    if library:
        kept[LIBRARY] = os.open(library, os.O_PATH)
    devices = {name: os.open(f"/dev/{name}", os.O_PATH) for name in ("null", "zero", "random", "urandom")}
    processes = os.open("/proc", os.O_PATH)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=755")
    for path, handle in kept.items():
        bind(handle, root / path.relative_to("/"), folder=stat.S_ISDIR(os.fstat(handle).st_mode))
    for name, handle in devices.items():
        bind(handle, root / "dev" / name, folder=False, writable=True)
    bind(processes, root / "proc", folder=True, writable=True)  # the kernel allows a new /proc only beside an old one
    os.close(processes)
    for name in ("tmp", "old"):
        (root / name).mkdir(exist_ok=True)
    os.chdir(root)
    if _libc.syscall(SYS_PIVOT_ROOT, b".", b"old") != 0:
        raise OSError(ctypes.get_errno(), "pivot_root failed")
    os.chdir("/")
    call("umount2", b"/old", MNT_DETACH)
    os.rmdir("/old")
    for handle in (*kept.values(), *devices.values()):
        os.close(handle)
    mount("none", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    fresh_tmp("size=16m,mode=1777")


def fresh_tmp(options: str) -> None:
    """An empty /tmp. A Python that lives below the old one is seen in the new one too."""
    inside = [path for path in python_folders() if path.is_relative_to("/tmp")]
    handles = {path: os.open(path, os.O_PATH) for path in inside}
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options)
    for path, handle in handles.items():
        bind(handle, path, folder=stat.S_ISDIR(os.fstat(handle).st_mode))
        os.close(handle)


def bind(handle: int, target: Path, folder: bool, writable: bool = False) -> None:
    """Make what `handle` stands for visible at `target`, read-only unless told otherwise."""
    (target if folder else target.parent).mkdir(parents=True, exist_ok=True)
    if not folder:
        target.touch()
    mount(f"/proc/self/fd/{handle}", target, None, MS_BIND | MS_REC)
    if not writable:
        with contextlib.suppress(PermissionError):  # flags of the host's own mount may be locked for us; it is theirs
            mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


# The cell.


def enter_cell_namespaces() -> None:
    """New PID, mount and IPC namespaces: the next fork is their first process, and takes all others with it."""
    call("unshare", NEWPID | NEWNS | NEWIPC)


def enter_cell(limits: Limits, filter_calls: Any, number: int) -> None:
    """In that first process: fresh /tmp, own /proc, no rights, limits, Landlock and seccomp. No way back."""
    fresh_tmp(f"size={TMP_SIZE},nr_inodes=10000,mode=1777")
    try:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    except OSError:  # some containers forbid a new /proc; the cell does without, and must not see the old one
        mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY)
    os.chdir("/tmp")
    set_limits(limits)
    drop_rights(number)
    lock_files()
    if filter_calls:
        filter_calls.load()


def enter_plain_cell(limits: Limits, filter_calls: Any, number: int) -> None:
    """What a cell can be inside a house of bubblewrap's, where no further namespaces are to be had."""
    os.chdir("/tmp")
    set_limits(limits)
    drop_rights(number)
    lock_files()
    if filter_calls:
        filter_calls.load()


def set_limits(limits: Limits) -> None:
    def at_most(what: int, amount: int) -> None:
        _, hard = resource.getrlimit(what)
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(what, (amount, amount))

    at_most(resource.RLIMIT_AS, mapped_bytes() + limits.megabytes * 2**20 + RESERVE)
    at_most(resource.RLIMIT_NPROC, limits.processes)
    at_most(resource.RLIMIT_FSIZE, limits.file_megabytes * 2**20)
    at_most(resource.RLIMIT_NOFILE, limits.open_files)
    at_most(resource.RLIMIT_CORE, 0)


@contextlib.contextmanager
def leaving_a_reserve() -> Iterator[None]:
    """While a cell runs, its memory ends a little before the hard limit, so that answers can be asked afterwards."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (max(hard - RESERVE, 0), hard))
    try:
        yield
    finally:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def mapped_bytes() -> int:
    """Virtual memory of this process."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 16 * 2**30


def become_nobody(number: int) -> None:
    """Turn root into the unused user of that number."""
    for first, count in UNUSED_USERS:
        user = first + number % count
        try:
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            return
        except OSError as error:
            if error.errno != errno.EINVAL:  # a number this user namespace does not know
                raise
    raise OSError(errno.EINVAL, "no unused user to become")


def drop_rights(number: int) -> None:
    """Root becomes a user without a name; either way no capability is left and none can be gained."""
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    if _house.root:
        os.setgroups([])
        become_nobody(number)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.syscall(SYS_CAPSET, header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)


def in_user_namespace() -> bool:
    try:
        return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


# Landlock: read below /, write below /tmp and to the devices only.

LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
READ_FILE, READ_DIR, EXECUTE = 1 << 2, 1 << 3, 1 << 0
ALL_FILE_RIGHTS = (1 << 13) - 1  # ABI 1, the oldest; what newer ABIs add is refused by seccomp or the read-only root


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 where it has none."""
    return max(_libc.syscall(LANDLOCK_CREATE, None, 0, 1), 0)


def lock_files() -> None:
    """Deny every access to files that the rules below do not allow. Nothing where the kernel has no Landlock."""
    if not landlock_version():
        return
    handled = ctypes.c_uint64(ALL_FILE_RIGHTS)
    ruleset = _libc.syscall(LANDLOCK_CREATE, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset failed")
    for path, allowed in (
        ("/", READ_FILE | READ_DIR | EXECUTE),
        ("/tmp", ALL_FILE_RIGHTS),
        ("/dev/null", READ_FILE | 1 << 1),
    ):
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if path == "/dev/null":
            allowed &= READ_FILE | 1 << 1
        rule = _PathRule(allowed, handle)
        if _libc.syscall(LANDLOCK_ADD, ruleset, 1, ctypes.byref(rule), 0) != 0:
            raise OSError(ctypes.get_errno(), f"landlock_add_rule failed for {path}")
        os.close(handle)
    if _libc.syscall(LANDLOCK_RESTRICT, ruleset, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self failed")
    os.close(ruleset)


# seccomp: system calls no homework needs.

REFUSED_CALLS = tuple(
    """
acct add_key bpf chroot clock_adjtime clock_settime delete_module fanotify_init finit_module fsconfig fsmount fsopen
fspick init_module io_uring_enter io_uring_register io_uring_setup kcmp kexec_file_load kexec_load keyctl lookup_dcookie
memfd_create memfd_secret mount mount_setattr move_mount move_pages msgget name_to_handle_at nfsservctl
open_by_handle_at open_tree perf_event_open personality pidfd_getfd pivot_root process_madvise process_vm_readv
process_vm_writev ptrace quotactl reboot request_key semget setdomainname sethostname setns settimeofday shmget swapoff
swapon syslog umount umount2 unshare userfaultfd vhangup
""".split()  # noqa: SIM905
)
AF_UNIX = 1


def prepare_filter() -> Any:
    """A filter that lets the calls above, and sockets other than local ones, fail. `None` without libseccomp.

    Prepared before the house is built (libseccomp is looked for by name), loaded in each cell.
    """
    try:
        import pyseccomp as seccomp
    except (ImportError, RuntimeError, OSError):
        return None
    refuse = seccomp.ERRNO(errno.EPERM)
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in REFUSED_CALLS:
        with contextlib.suppress(Exception):  # a call this architecture does not have
            rules.add_rule(refuse, name)
    rules.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.NE, AF_UNIX))
    for flag in (NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET):
        rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags are out of a filter's sight; libc falls back
    return rules


# Which cage there is.


@cache
def offered() -> str | None:
    """`namespaces` or `bubblewrap`, whichever works here when tried; `None` where neither does."""
    if not sys.platform.startswith("linux"):
        return None
    probe = "from autograder.grading.cage import *; enter_house(); enter_cell_namespaces(); print('caged')"
    command = [sys.executable, "-c", probe]
    folder = Path(__file__).parents[2]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        if done.stdout.strip() == "caged":
            return "namespaces"
    bwrap = shutil.which("bwrap")
    if bwrap:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run([bwrap, *bubblewrap_options(), "true"], capture_output=True, timeout=60)
            if done.returncode == 0:
                return "bubblewrap"
    return None


def chosen(wanted: str = "") -> str:
    """The cage to use: the wanted one, else the best there is. `CourseError` rather than none by accident."""
    if wanted not in ("", "none", "namespaces", "bubblewrap"):
        raise CourseError(f"cage {wanted!r}: expected namespaces, bubblewrap or none")
    kind = wanted or offered()
    if kind is None:
        raise CourseError(
            "this machine offers no cage, and submissions would run with your rights: "
            "grade on Linux, or say --unsafe if you trust every one of them"
        )
    return kind


def bubblewrap_options(visible: dict[Path, Path] | None = None) -> list[str]:
    """The same house, built by bubblewrap; `visible` maps folders to where they are seen."""
    seen = {path: path for path in python_folders()} | (visible or {})
    binds = [word for source, target in seen.items() for word in ("--ro-bind", str(source), str(target))]
    return ["--unshare-all", "--die-with-parent", "--tmpfs", "/tmp", *binds, "--dev", "/dev", "--proc", "/proc"]
