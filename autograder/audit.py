"""Prove every exercise before release: what is right passes, what is wrong is refused and named, nothing leaks.

For each exercise: the reference and the solution get all points, the empty stub none, every alternative all, every
mistake is refused and diagnosed by its own name (20 seeds each); mutants of the solution are killed or explained; the
reference itself handed in is refused; the probe runs where this course cannot be imported; the released notebook and
the chapter hold no solution. Results are cached by a hash of all that they depend on.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from types import CodeType
from typing import Any

from autograder.exercise import Exercise, define, files_of, find, load, topics
from autograder.homework import BEGIN, END, HOMEWORK, ROOT, answer_cells, import_cell, stub
from autograder.judging import Verdict, ask_here, judge, question
from autograder.mutants import mutants
from autograder.probing import deadline

SEEDS = range(20)
MUTANT_SEEDS = range(5)
MUTANT_SECONDS = 2.0
CACHE = ROOT / "_build" / "audit"


def submitted(exercise: Exercise, source: str) -> Callable:
    """An answer as a student's notebook defines it: after the import cell, alone, with no other answer."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    define(import_cell(exercise.topic), "check", namespace)
    return define(source, exercise.answer_name, namespace)


def verdict_on(exercise: Exercise, answer: Callable, seed: int, seconds: float | None = None) -> Verdict:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return judge(exercise, ask_here(answer), seed, seconds)


def always(exercise: Exercise, answer: Callable, seeds: Any = SEEDS) -> bool | str:
    """True when the answer gets all points for every seed, else what was said against it."""
    for seed in seeds:
        verdict = verdict_on(exercise, answer, seed)
        if not verdict.passed:
            said = next((facet.complaint for facet in verdict.facets if facet.complaint), verdict.summary)
            return f"seed {seed}: {verdict.points:g} of {verdict.max_points:g}: {said}"
    return True


def refused_by_name(exercise: Exercise, answer: Callable, label: str) -> bool | str:
    """True when the mistake never gets all points and is always called by its own name."""
    for seed in SEEDS:
        verdict = verdict_on(exercise, answer, seed)
        if verdict.passed:
            return f"seed {seed}: gets all points"
        if verdict.mistake != label:
            return f"seed {seed}: diagnosed as {verdict.mistake or 'nothing'}"
    return True


def kill_mutants(exercise: Exercise, source: str) -> dict[str, Any]:
    """How many mutants of the solution there are, how many are refused, which survive."""
    made = mutants(source)
    killed, explained, survived = 0, [], []
    for mutant in made:
        try:
            answer = submitted(exercise, mutant.source)
            alive = all(verdict_on(exercise, answer, seed, MUTANT_SECONDS).passed for seed in MUTANT_SEEDS)
        except Exception:
            alive = False
        if not alive:
            killed += 1
        elif mutant.change in exercise.equivalent_mutants:
            explained.append(mutant.change)
        else:
            survived.append(mutant.change)
    return {"made": len(made), "killed": killed, "explained": len(explained), "survived": survived}


ISOLATION = """
import importlib.abc, json, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ml_course", "autograder"):
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Absent())
import numpy as np
class Stop(Exception): pass
def answer(*args, **kwargs): raise Stop
for probe, name, inputs in json.loads(sys.stdin.read()):
    space = {"__name__": "probe"}
    exec(probe, space)
    for key, value in inputs.items():
        if isinstance(value, dict) and "dtype" in value:
            inputs[key] = np.array(value["data"], dtype=value["dtype"]).reshape(value["shape"])
    try:
        space[name](answer, **inputs)
    except Stop:
        pass
"""


def probe_stands_alone(exercise: Exercise) -> bool | str:
    """Run the probe on every case in a process where neither ml_course nor autograder can be imported.

    The stand-in answer raises at once, so what comes after its call is read instead: no name of the module may be used.
    """
    import numpy as np

    tree = ast.parse(exercise.probe_source)
    borrowed = global_names(compile(tree, "<probe>", "exec")) - {function.name for function in tree.body}
    if borrowed:
        return f"the probe uses names from outside itself: {', '.join(sorted(borrowed))}"

    def sendable(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {"data": value.ravel().tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
        return value

    requests = []
    for case in exercise.make_cases(0):
        asked = question(exercise, case)
        requests.append([asked.probe, asked.probe_name, {k: sendable(v) for k, v in asked.inputs.items()}])
    done = subprocess.run(
        [sys.executable, "-c", ISOLATION], input=json.dumps(requests), capture_output=True, text=True, timeout=120
    )
    return True if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def global_names(code: CodeType) -> set[str]:
    """Names that a function looks up outside itself and that are no builtins."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    own = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"} - set(vars(builtins))
    return own.union(*(global_names(each) for each in inner))


def leaks(exercise: Exercise, source: str) -> bool | str:
    """True when neither the released notebook nor the chapter holds the whole solution."""
    inside = source.split(BEGIN)[1].split(END)[0]
    lines = [
        line.strip() for line in inside.splitlines() if len(line.strip()) >= 12 and not line.strip().startswith("#")
    ]
    if len(lines) < 2:
        return True
    topic = exercise.topic
    places = [
        HOMEWORK / topic / f"{topic}.ipynb",
        ROOT / "notebooks" / "chapters" / f"{topic}.ipynb",
        ROOT / "book" / f"{topic}.md",
    ]
    for place in places:
        if place.is_file():
            text = place.read_text(encoding="utf-8").replace('\\"', '"')
            if all(line in text for line in lines):
                return f"{place.relative_to(ROOT)} holds the whole solution"
    return True


def tasks(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """The audit of one exercise in pieces that can run side by side."""
    for part in ("reference", "solution", "stub", "own_reference", "probe", "leaks", "mutants"):
        yield part, ""
    for version in exercise.alternatives:
        yield "alternatives", version.label
    for mistake in exercise.mistakes:
        yield "mistakes", mistake.label


def run_task(name: str, part: str, label: str) -> tuple[str, str, str, Any]:
    """One piece. A crash of the audit itself is reported as that piece's result."""
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)
    exercise = find(name)
    source = answer_cells(exercise.topic)[name]
    try:
        return name, part, label, _result(exercise, source, part, label)
    except Exception as error:
        return name, part, label, f"{type(error).__name__}: {error}"


def _result(exercise: Exercise, source: str, part: str, label: str) -> Any:
    match part:
        case "reference":
            # The reference is refused as a submission (below); here it only has to agree with itself on all seeds.
            from autograder.judging import award, expected_replies

            return all(
                award(exercise, seed, tuple(reply for _, reply in expected_replies(exercise, seed))).passed
                for seed in SEEDS
            )
        case "solution":
            return always(exercise, submitted(exercise, source))
        case "stub":
            verdict = verdict_on(exercise, submitted(exercise, stub(source)), 0)
            return True if verdict.points == 0 else f"the empty stub gets {verdict.points:g} points"
        case "own_reference":
            verdict = verdict_on(exercise, exercise.reference, 0)
            return True if verdict.called else "the reference handed in as an answer is not noticed"
        case "probe":
            return probe_stands_alone(exercise)
        case "leaks":
            return leaks(exercise, source)
        case "mutants":
            with deadline(600):
                return kill_mutants(exercise, source)
        case "alternatives":
            (version,) = (version for version in exercise.alternatives if version.label == label)
            return always(exercise, submitted(exercise, version.as_submitted(exercise.answer_name)))
        case "mistakes":
            (mistake,) = (mistake for mistake in exercise.mistakes if mistake.label == label)
            return refused_by_name(exercise, submitted(exercise, mistake.as_submitted(exercise.answer_name)), label)


def fingerprint(topic: str) -> str:
    """A hash of everything the audit of a topic depends on."""
    import numpy
    import torch

    digest = hashlib.sha256(f"{sys.version} {numpy.__version__} {torch.__version__}".encode())
    written = [
        *sorted(Path(__file__).parent.glob("*.py")),
        *files_of(ROOT / "ml_course" / topic),
        *files_of(ROOT / "autograder" / "exercises" / topic),
        ROOT / "solutions" / f"{topic}.py",
        ROOT / "book" / f"{topic}.md",
        HOMEWORK / topic / f"{topic}.ipynb",
    ]
    for path in written:
        digest.update(path.name.encode() + (path.read_bytes() if path.is_file() else b"absent"))
    return digest.hexdigest()


def cached(topic: str) -> list[dict] | None:
    path = CACHE / f"{topic}.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["fingerprint"] == fingerprint(topic):
            return stored["exercises"]
    return None


def store(topic: str, results: list[dict]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"fingerprint": fingerprint(topic), "exercises": results}, indent=1, ensure_ascii=False)
    (CACHE / f"{topic}.json").write_text(text, encoding="utf-8")


def prove(todo: list[tuple[str, str, str]], workers: int) -> dict[tuple[str, str, str], Any]:
    """The result of each piece, in new processes: none remembers what took too long before."""
    from tqdm import tqdm

    if not todo:
        return {}
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run_task, *task) for task in todo]
        results = (future.result() for future in tqdm(as_completed(futures), "audit", len(futures), unit="proof"))
        return {(name, part, label): result for name, part, label, result in results}


def audit(names: list[str] | None = None, workers: int | None = None, fresh: bool = False) -> dict[str, Any]:
    """Audit the topics (all of them without `names`) and return `{"ok": …, "exercises": […]}`."""
    chosen = list(names or topics())
    done = {topic: None if fresh else cached(topic) for topic in chosen}
    todo = [
        (name, *task) for topic in chosen if done[topic] is None for name, e in load(topic).items() for task in tasks(e)
    ]
    todo.sort(key=lambda task: task[1] != "mutants")  # the longest first
    proofs = prove(todo, workers or os.cpu_count())
    # Seeds are fixed, so a proof can only fail by chance where a machine stood still until an answer's time was over.
    proofs |= prove([task for task, result in proofs.items() if result is False or isinstance(result, str)], 1)
    pieces: dict[str, list[tuple[str, str, Any]]] = {}
    for (name, part, label), result in proofs.items():
        pieces.setdefault(name, []).append((part, label, result))
    for topic in chosen:
        if done[topic] is None:
            done[topic] = [assemble(exercise, pieces[name]) for name, exercise in load(topic).items()]
            store(topic, done[topic])
    exercises = [result for topic in chosen for result in done[topic]]
    return {"ok": all(not faults(result) for result in exercises), "exercises": exercises}


def assemble(exercise: Exercise, pieces: list[tuple[str, str, Any]]) -> dict[str, Any]:
    """The pieces of one exercise as one record, in the order of the exercise file."""
    found = {(part, label): result for part, label, result in pieces}
    record: dict[str, Any] = {"name": exercise.name, "points": exercise.points, "alternatives": {}, "mistakes": {}}
    for part, label in tasks(exercise):
        if label:
            record[part][label] = found[part, label]
        else:
            record[part] = found[part, label]
    return record


def faults(record: dict[str, Any]) -> list[str]:
    """Everything wrong with one exercise, one line each."""
    lines = [
        f"{part}: {record[part]}"
        for part in ("reference", "solution", "stub", "own_reference", "probe", "leaks")
        if record[part] is not True
    ]
    for part, least in (("alternatives", 2), ("mistakes", 4)):
        lines += [f"{part}, {label}: {result}" for label, result in record[part].items() if result is not True]
        if len(record[part]) < least:
            lines.append(f"{part}: {len(record[part])}, at least {least} are asked")
    if isinstance(record["mutants"], dict):
        lines += [f"mutant survived: {change}" for change in record["mutants"]["survived"]]
    else:
        lines.append(f"mutants: {record['mutants']}")
    return lines


def table(report: dict[str, Any]) -> str:
    """The report as text: one row an exercise, then every fault."""
    rows = [("exercise", "points", "right", "stub", "alternatives", "mistakes", "mutants killed", "explained")]
    for record in report["exercises"]:
        right = record["reference"] is True and record["solution"] is True
        mutated = record["mutants"] if isinstance(record["mutants"], dict) else {"made": 0, "killed": 0, "explained": 0}
        rows.append(
            (
                record["name"],
                f"{record['points']:g}",
                "yes" if right else "NO",
                "0" if record["stub"] is True else "NO",
                f"{sum(v is True for v in record['alternatives'].values())}/{len(record['alternatives'])}",
                f"{sum(v is True for v in record['mistakes'].values())}/{len(record['mistakes'])}",
                f"{mutated['killed']}/{mutated['made']}",
                str(mutated["explained"]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for record in report["exercises"]:
        lines += [f"{record['name']}: {fault}" for fault in faults(record)]
    lines.append("all exercises are proven" if report["ok"] else "NOT proven: see above")
    return "\n".join(lines)
