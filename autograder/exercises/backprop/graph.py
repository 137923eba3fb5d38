"""The exercise on the order in which a graph is walked."""

from autograder.exercise import Case, Exercise
from ml_course.backprop import Value


def order_of_the_engine(sources, result):
    """The library's order, with the answer's signature."""
    numbers = {name: Value(0.0) for name in sources}
    names = {id(value): name for name, value in numbers.items()}
    for name, own in sources.items():
        numbers[name].sources = [(numbers[source], 1.0) for source in own]
    return [names[id(value)] for value in numbers[result].topological_order()]


topological_order = Exercise(
    "backprop.topological_order",
    difficulty=2,
    minutes=20,
    reference=order_of_the_engine,
    facets={"order": 2, "long chains": 1},
)


@topological_order.cases
def topological_order_cases(rng):
    yield Case("a single number", sources={"x": []}, result="x")
    yield Case("one operation", sources={"y": ["a", "b"], "a": [], "b": []}, result="y")
    yield Case("a number used twice in one operation", sources={"x": [], "square": ["x", "x"]}, result="square")
    short = {"loss": ["x", "c"], "c": ["b"], "b": ["a"], "a": ["x"], "x": []}
    yield Case("a short and a long way", sources=short, result="loss")
    long_first = {"loss": ["c", "x"], "c": ["b"], "b": ["a"], "a": ["x"], "x": []}
    yield Case("a long and a short way", sources=long_first, result="loss")
    yield Case("something else hangs on it", sources=short | {"other": ["b", "d"], "d": []}, result="loss")
    names = [f"v{number}" for number in rng.permutation(12)]
    random = {
        name: [names[int(i)] for i in rng.integers(0, place, size=2)] if place else []
        for place, name in enumerate(names)
    }
    shuffled = {name: random[name] for name in sorted(random)}
    yield Case("a random graph", sources=shuffled, result=names[-1])
    ladder = {"v0": []} | {f"v{i}": [f"v{i - 1}", f"v{max(i - 2, 0)}"] for i in range(1, 11)}
    yield Case("a ladder with many ways", sources=ladder, result="v10")
    chain = {"v0": []} | {f"v{i}": [f"v{i - 1}"] for i in range(1, 1500)}
    yield Case("a chain of 1,500 steps", "long chains", sources=chain, result="v1499")


@topological_order.probe
def topological_order_probe(answer, sources, result):
    try:
        order = answer({name: list(own) for name, own in sources.items()}, result)
    except RecursionError:  # its message depends on how deep the caller already was
        return {"order": "RecursionError: the function calls itself too often, one call inside another"}
    return {"order": [str(name) for name in order]}


@topological_order.judge
def topological_order_judge(inputs, got, want):
    """Any order will do in which everything stands after what it was computed from."""
    sources, order, wanted = inputs["sources"], got.get("order"), set(want["order"])
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
        yield "order", order if isinstance(order, str) else "order: expected a list of names"
        return
    for name in order:
        if name not in wanted:
            yield "order", f"order: {name!r} does not lead to {inputs['result']!r}"
            return
    if len(set(order)) < len(order):
        twice = next(name for place, name in enumerate(order) if name in order[:place])
        yield "order", f"order: {twice!r} is in it {order.count(twice)} times"
        return
    if len(order) < len(want["order"]):
        missing = sorted(wanted - set(order))
        yield "order", f"order: {missing[0]!r} is missing"
        return
    place = {name: number for number, name in enumerate(order)}
    for name in order:
        for source in sources[name]:
            if place[source] > place[name]:
                yield "order", f"order: {name!r} stands before {source!r}, which it is computed from"
                return


@topological_order.alternative
def by_counting_uses(sources, result):
    needed, waiting = {result}, [result]
    while waiting:
        for source in sources[waiting.pop()]:
            if source not in needed:
                needed.add(source)
                waiting.append(source)
    missing = {name: len(set(sources[name])) for name in needed}
    users = {name: [] for name in needed}
    for name in needed:
        for source in set(sources[name]):
            users[source].append(name)
    ready, order = [name for name in needed if missing[name] == 0], []
    while ready:
        order.append(ready.pop())
        for user in users[order[-1]]:
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)
    return order


@topological_order.alternative
def by_longest_way(sources, result):
    depth, waiting = {}, [result]
    while waiting:
        name = waiting[-1]
        later = [source for source in sources[name] if source not in depth]
        if later:
            waiting.extend(later)
        else:
            depth[name] = 1 + max((depth[source] for source in sources[name]), default=0)
            waiting.pop()
    return sorted(depth, key=depth.get)


def right_order(sources, result):
    order, seen, waiting = [], set(), [(result, False)]
    while waiting:
        name, done = waiting.pop()
        if done:
            order.append(name)
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            for source in reversed(sources[name]):
                waiting.append((source, False))
    return order


topological_order.slip(
    "from the end to the start",
    right_order,
    "return order",
    "return order[::-1]",
    cause="The result comes first. That is the order of the backward pass; asked for is the one to compute in.",
    hint="Which name should be the last of your list?",
)


@topological_order.mistake(hint="Put your function to work on {'y': ['x', 'x'], 'x': []}: how often is x in it?")
def no_memory_of_what_was_seen(sources, result):
    """A number that is used several times is in the list several times."""
    order = []

    def visit(name):
        for source in sources[name]:
            visit(source)
        order.append(name)

    visit(result)
    return order


@topological_order.mistake(
    hint="Draw x → a → b → c → loss and also x → loss. How far is x from the loss: one step or four?"
)
def breadth_first(sources, result):
    """Sorted by the *shortest* way to the result; a number must wait for all that use it, so the longest way counts."""
    order, waiting = [], [result]
    while waiting:
        name = waiting.pop(0)
        if name not in order:
            order.append(name)
            waiting.extend(sources[name])
    return order[::-1]


@topological_order.mistake(
    hint="When you meet a number for the first time, do you know already that nobody else uses it?"
)
def noted_on_arrival(sources, result):
    """A number is noted when it is first met, not when all it was computed from has been noted."""
    order, waiting = [], [result]
    while waiting:
        name = waiting.pop()
        if name not in order:
            order.append(name)
            waiting.extend(sources[name])
    return order[::-1]


@topological_order.mistake(hint="Does everything in `sources` lead to `result`? Start from the result and go back.")
def the_whole_graph(sources, result):
    """The list holds names that do not lead to the result at all."""
    order, seen = [], set()
    waiting = [(name, False) for name in sources]
    while waiting:
        name, done = waiting.pop()
        if done:
            order.append(name)
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting.extend((source, False) for source in sources[name])
    return order


@topological_order.mistake(
    hint="Python stops after a thousand calls inside one another. Keep your own list of what is still to be done."
)
def one_call_inside_another(sources, result):
    """The function calls itself once per number on the way, and a long chain exhausts Python's stack."""
    order, seen = [], set()

    def visit(name):
        if name not in seen:
            seen.add(name)
            for source in sources[name]:
                visit(source)
            order.append(name)

    visit(result)
    return order
