"""Attacks on the machine: time, memory, disk, processes, network, rights, and whoever is graded next."""

from hostile.kinds import Attack, answer, cell, right

DAEMON = """
    import ctypes, os, signal, sys, time
    if os.fork() == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
        for number in range(1, 32):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        if os.fork() == 0:
            while True:
                {work}
        os._exit(0)
"""
# The session itself leaves its group, forgets whom to die with, and never ends.
SURVIVE = """
    import ctypes, os, signal
    try:
        os.setsid()
    except OSError:
        os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    for number in range(1, 32):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        try:
            while True:
                {work}
        except BaseException:
            pass
"""
DEAF = """
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
"""
MASK = "def causal_mask(query, key):\n"

TIME = {
    "loop-in-a-cell": cell("while True: pass", right),
    "loop-in-an-answer": answer(MASK + "    while True: pass"),
    "loop-deaf-to-signals": answer(MASK + DEAF + "    while True: pass"),
    "loop-that-catches-everything": answer(
        MASK + "    while True:\n        try:\n            while True: pass\n        except BaseException: pass"
    ),
    "loop-in-c": answer(MASK + "    import re\n    re.match('(a*)*b', 'a' * 64)"),
    "loop-in-del": answer(
        """
        class Sticky:
            def __del__(self):
                while True: pass
        def causal_mask(query, key):
            return Sticky()
        """
    ),
    "loop-at-import": cell(
        """
        open("endless.py", "w").write("while True: pass")
        import sys
        sys.path.insert(0, "")
        import endless
        """,
        right,
    ),
    "loop-in-getattr": answer(
        """
        class Endless:
            def __getattr__(self, name):
                while True: pass
        def causal_mask(query, key):
            return Endless()
        """
    ),
    "sleeps": answer(MASK + "    import time\n    time.sleep(10_000)"),
    "infinite-generator": answer(MASK + "    n = 0\n    while True:\n        yield n"),
    "an-endless-list": answer(MASK + "    import itertools\n    return list(itertools.count())"),
    "stops-itself": cell("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nos.kill(0, signal.SIGSTOP)"),
    "stops-itself-in-an-answer": answer(MASK + "    import os, signal\n    os.kill(os.getpid(), signal.SIGSTOP)"),
    "dies-only-when-replayed": cell(
        """
        import os, time
        if time.time() % 1 > 0.5:
            os._exit(1)
        """,
        right,
    ),
    "endless-print": cell("while True: print('x' * 1000)", right),
    "a-gigabyte-of-output": cell("import sys\nfor _ in range(1000): sys.stdout.write('x' * 2**20)", right),
    "a-flood-of-pictures": cell(
        """
        import base64
        from IPython.display import Image, display
        picture = base64.b64decode("iVBORw0KGgo=") + bytes(120_000)
        for _ in range(1000):
            display(Image(picture, format="png"))
        """,
        right,
    ),
    "floods-both-streams": answer(
        MASK
        + "    import os, sys\n    while True:\n        os.write(1, b'x' * 65536)\n        print('x', file=sys.stderr)"
    ),
}

MEMORY = {
    "memory-bomb-in-a-cell": cell("hoard = []\nwhile True: hoard.append(bytearray(2**26))", right),
    "memory-bomb-in-an-answer": answer(MASK + "    hoard = []\n    while True: hoard.append(bytearray(2**26))"),
    "memory-bomb-in-many-processes": cell(
        """
        import os, time
        for _ in range(40):
            if os.fork() == 0:
                hoard = []
                try:
                    while True: hoard.append(bytearray(b"x") * 2**24)
                except MemoryError:
                    time.sleep(1000)
        time.sleep(1000)
        """,
        right,
    ),
    "memory-bomb-in-files-without-names": cell(
        """
        import os
        handles = []
        try:
            while True:
                handles.append(os.memfd_create("hoard"))
                for _ in range(60):
                    os.write(handles[-1], bytes(2**20))
        finally:
            if len(handles) > 8:
                print("LEAKED:", len(handles), "files of 60 MB")
        """
    ),
    "memory-bomb-in-shared-segments": cell(
        """
        import ctypes
        libc = ctypes.CDLL(None)
        libc.shmat.restype = ctypes.c_void_p
        held = 0
        for _ in range(40):
            segment = libc.shmget(0, 2**26, 0o1600)
            place = libc.shmat(segment, None, 0) if segment >= 0 else -1
            if place not in (-1, 2**64 - 1, None):
                ctypes.memset(place, 1, 2**26)
                libc.shmdt(ctypes.c_void_p(place))
                held += 1
        if held > 8:
            print("LEAKED:", held, "segments of 64 MB")
        """
    ),
    "ten-gigabytes-array": answer(MASK + "    import numpy\n    return numpy.ones(10 * 2**30 // 8)"),
    "ten-gigabytes-that-are-not-there": answer(
        MASK + "    import torch\n    return torch.zeros(1, dtype=torch.bool).expand(10 * 2**30)"
    ),
    "a-large-result-each-time": answer(MASK + "    import torch\n    return torch.zeros(15 * 2**20)"),
    "a-million-small-results": answer(MASK + "    import torch\n    one = torch.zeros(1)\n    return [one] * 200_000"),
    "huge-file": cell("with open('/tmp/huge', 'wb') as file:\n    while True: file.write(bytes(2**20))", right),
    "many-huge-files": cell(
        "import os\nfor n in range(100):\n    with open(f'/tmp/{n}', 'wb') as file:\n        file.write(bytes(2**25))",
        right,
    ),
    "many-files": cell("import os\nfor n in range(200_000): os.mkdir(f'/tmp/{n}')", right),
    "recursion": answer(MASK + "    return causal_mask(query, key)"),
    "recursion-without-limit": answer(
        MASK + "    import sys\n    sys.setrecursionlimit(10**9)\n    return causal_mask(query, key)"
    ),
    "recursion-in-repr": cell("class R:\n    def __repr__(self): return repr(self)\nR()", right),
}

PROCESSES = {
    "fork-bomb-in-a-cell": cell("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
    "fork-bomb-in-an-answer": answer(
        MASK + "    import os\n    while True:\n        try: os.fork()\n        except OSError: pass"
    ),
    "fork-bomb-that-leaves-its-group": answer(
        MASK + "    import os\n    while True:\n        try:\n            if os.fork() == 0: os.setsid()\n"
        "        except OSError: pass"
    ),
    "fork-bomb-left-behind": cell(
        DAEMON.format(work="try: os.fork()\n                except OSError: pass") + "    time.sleep(0.5)\n"
    ),
    "thread-bomb": answer(
        MASK + "    import threading, time\n    while True:\n        try: threading.Thread(target=time.sleep, "
        "args=(1000,)).start()\n        except RuntimeError: pass"
    ),
    "threads-outlive-the-cell": cell(
        """
        import threading
        def work():
            while True: pass
        for _ in range(3): threading.Thread(target=work, daemon=True).start()
        """
    ),
    "a-process-outlives-the-cell": cell(
        "import subprocess\nfor _ in range(20): subprocess.Popen(['sleep', '1000'])", right
    ),
    "a-daemon-outlives-the-session": cell(DAEMON.format(work="time.sleep(0.01)"), right),
    "a-daemon-out-of-an-answer": answer(MASK + DAEMON.format(work="pass") + "    return None"),
    "the-session-outlives-the-session": cell(SURVIVE.format(work="pass")),
    "the-session-sleeps-through": cell(SURVIVE.format(work="signal.pause()")),
    "exits-hard": cell("import os\nos._exit(0)", right),
    "exits-hard-in-an-answer": answer(MASK + "    import os\n    os._exit(0)"),
    "raises-systemexit": answer(MASK + "    raise SystemExit(100)"),
    "raises-keyboardinterrupt": answer(MASK + "    raise KeyboardInterrupt"),
    "raises-generatorexit": answer(MASK + "    raise GeneratorExit"),
    "exits-at-exit": cell(
        "import atexit, os, sys\natexit.register(os._exit, 0)\natexit.register(sys.exit, 100)", right
    ),
    "kills-itself": cell("import os\nos.kill(os.getpid(), 9)\nos.abort()", right),
    "kills-itself-in-an-answer": answer(MASK + "    import os\n    os.kill(os.getpid(), 9)"),
    "kills-its-session-in-an-answer": answer(
        MASK
        + "    import os, signal\n    for n in range(1, 64):\n        if n not in (9, 14, 19): os.kill(os.getppid(), n)"
    ),
    "breaks-its-memory": cell("import ctypes\nctypes.string_at(0)", right),
    "breaks-its-memory-in-an-answer": answer(MASK + "    import ctypes\n    ctypes.memset(8, 1, 8)"),
    "kills-everybody": cell(
        """
        import os, signal
        for target in (-1, 0, os.getppid(), «GRADER», *range(2, 3000)):
            for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
                try:
                    os.kill(target, number)
                    if target == «GRADER» and target > 100:
                        print("LEAKED: signalled the grader")
                except (OSError, OverflowError):
                    pass
        """
    ),
    "closes-all-files": cell("import os\nos.closerange(0, 4096)", right),
    "shuffles-all-files": cell(
        "import os\nnull = os.open('/dev/null', 2)\nfor n in range(3, 64):\n    if n != null: os.dup2(null, n)", right
    ),
    "closes-all-files-in-an-answer": answer(MASK + "    import os\n    os.closerange(0, 4096)"),
}

REACH = {
    "deletes-files": cell(
        """
        import os, shutil
        for path in (".", "..", "../..", "/", «COURSE», «CANARY», "/course", "/usr", os.path.expanduser("~")):
            shutil.rmtree(path, ignore_errors=True)
            try:
                os.remove(path)
                print("LEAKED: removed", path)
            except OSError:
                pass
        """
    ),
    "writes-outside": cell(
        """
        import os, sys, torch
        places = [«COURSE», os.path.dirname(«CANARY»), "/", "/usr", "/etc", "/course", "/course/ml_course", "/dev",
                  "/proc", os.path.dirname(torch.__file__), sys.prefix, os.path.dirname(os.__file__), "/dev/shm"]
        for place in places:
            for path in (os.path.join(place, "canary"), "/proc/1/root" + os.path.join(place, "canary")):
                try:
                    open(path, "w").write("x")
                    print("LEAKED: wrote", path)
                except OSError:
                    pass
        for path in («CANARY», torch.__file__, os.__file__, sys.executable, "/proc/sysrq-trigger"):
            try:
                open(path, "a").write("x")
                print("LEAKED: wrote", path)
            except OSError:
                pass
        """
    ),
    "network": cell(
        """
        import socket
        def attempt(name, action):
            try:
                action()
                print("LEAKED:", name)
            except OSError:
                pass
        attempt("tcp", lambda: socket.create_connection(("127.0.0.1", «PORT»), 2).send(b"x"))
        attempt("tcp6", lambda: socket.create_connection(("::1", «PORT»), 2).send(b"x"))
        attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", «PORT»)))
        attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
        attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW))
        attempt("netlink", lambda: socket.socket(16, socket.SOCK_RAW))
        attempt("names", lambda: socket.getaddrinfo("example.org", 80))
        attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\\0" + «ABSTRACT»))
        attempt("path", lambda: socket.socket(socket.AF_UNIX).connect(«COURSE» + "/listener"))
        """
    ),
    "leaves-a-listener-for-the-next": cell(
        """
        import os, socket
        meeting = socket.socket(socket.AF_UNIX)
        try:
            meeting.bind("\\0meeting")
        except OSError:
            print("LEAKED: an earlier submission is still here")
        meeting.listen()
        if os.fork() == 0:
            os.setsid()
            while True:
                meeting.accept()
        """,
        right,
    ),
    "leaves-a-listener-for-the-next-again": cell(
        """
        import os, socket
        for name in os.listdir("/tmp") + os.listdir("/dev"):
            if "meeting" in name:
                print("LEAKED:", name)
        open("/tmp/meeting", "w").write("x")
        caller = socket.socket(socket.AF_UNIX)
        try:
            caller.connect("\\0meeting")
            print("LEAKED: talked to another submission")
        except OSError:
            pass
        """,
        right,
    ),
    "leaves-modules-for-the-next": cell(
        """
        import os, sys
        for folder in ("/tmp", "/course", *sys.path):
            for name in ("torch.py", "sitecustomize.py", "ml_course/data.py", "einops.py"):
                try:
                    open(os.path.join(folder, name), "w").write("print('LEAKED:')")
                except OSError:
                    pass
        """
    ),
    "traces-others": cell(
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        for target in (1, os.getppid(), «GRADER», *range(2, 200)):
            if target and target != os.getpid() and libc.ptrace(16, target, 0, 0) == 0:
                print("LEAKED: attached to", target)
            if target and target != os.getpid():
                for name in ("mem", "environ", "maps"):
                    try:
                        open(f"/proc/{target}/{name}", "rb").read(1)
                        print("LEAKED:", target, name)
                    except OSError:
                        pass
        """
    ),
    "rights-by-ctypes": cell(
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        def attempt(name, *arguments):
            if getattr(libc, name)(*arguments) == 0:
                print("LEAKED:", name, arguments)
        attempt("mount", b"none", b"/tmp", b"tmpfs", 0, None)
        attempt("umount2", b"/tmp", 2)
        attempt("unshare", 0x10000000)
        attempt("unshare", 0x20000)
        attempt("unshare", 0x40000000)
        attempt("setuid", 0)
        attempt("setresuid", 0, 0, 0)
        attempt("seteuid", 0)
        attempt("setgroups", 0, None)
        attempt("chroot", b"/tmp")
        attempt("sethostname", b"mine", 4)
        attempt("swapoff", b"/x")
        attempt("ptrace", 0, 0, 0, 0)
        attempt("pivot_root", b".", b".")
        attempt("settimeofday", None, None)
        for kind in ("net", "mnt", "pid", "user", "ipc", "uts"):
            for target in ("1", "self", str(os.getppid())):
                try:
                    handle = os.open(f"/proc/{target}/ns/{kind}", os.O_RDONLY)
                except OSError:
                    continue
                attempt("setns", handle, 0)
        """
    ),
    "raises-limits": cell(
        """
        import os, resource
        for what in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
            try:
                resource.setrlimit(what, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                print("LEAKED: limit", what)
            except (OSError, ValueError):
                pass
        for name, action in (("nice", lambda: os.nice(-5)), ("setgroups", lambda: os.setgroups([0])), ("realtime",
                lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))):
            try:
                action()
                print("LEAKED:", name)
            except OSError:
                pass
        """
    ),
    "setuid-programs": cell(
        """
        import subprocess
        for command in ("su -c id", "sudo -n id", "mount -t tmpfs none /tmp", "unshare -r id", "chsh", "newgrp"):
            told = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=5, input="")
            if "uid=0" in told.stdout:
                print("LEAKED:", command, told.stdout)
        """
    ),
    "devices": cell(
        """
        import os
        for name in os.listdir("/dev"):
            if name not in ("null", "zero", "random", "urandom", "full", "tty", "fd", "stdin", "stdout", "stderr"):
                try:
                    os.close(os.open(f"/dev/{name}", os.O_RDWR | os.O_NONBLOCK))
                    print("LEAKED:", name)
                except OSError:
                    pass
        try:
            os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))
            print("LEAKED: made a device")
        except OSError:
            pass
        """
    ),
}

ATTACKS: dict[str, Attack] = TIME | MEMORY | PROCESSES | REACH
