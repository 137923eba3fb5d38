// A computational graph, stepped forward and backward: L = (w·x + b − y)². Every node knows its value, the slope
// of each of its edges, and, once the backward pass has come by, the gradient of L.
"use strict";

Live.define("graph", (box, data) => {
  const { make, svg, canvas, button, number } = Live;
  const start = { w: 2, x: 3, b: -1, y: 4, ...data };
  const nodes = {
    w: { at: [60, 60], label: "w" },
    x: { at: [60, 170], label: "x" },
    b: { at: [60, 280], label: "b" },
    y: { at: [60, 390], label: "y" },
    p: { at: [200, 115], label: "w · x", of: ["w", "x"], value: (w, x) => w * x, slopes: (w, x) => [x, w] },
    z: { at: [350, 170], label: "+ b", of: ["p", "b"], value: (p, b) => p + b, slopes: () => [1, 1] },
    d: { at: [500, 225], label: "− y", of: ["z", "y"], value: (z, y) => z - y, slopes: () => [1, -1] },
    L: { at: [650, 225], label: "square", of: ["d"], value: (d) => d * d, slopes: (d) => [2 * d] },
  };
  const inputs = ["w", "x", "b", "y"];
  const inner = ["p", "z", "d", "L"];
  // Forward: one node after another. Backward: L first, then from each node to those it was made of.
  const steps = [...inner.map((name) => ["forward", name]), ["seed", "L"], ...[...inner].reverse().map((name) => ["backward", name])];
  let done = 0;

  const drawing = canvas(760, 450, "The graph of L = (w·x + b − y)², with the value and the gradient of each node");
  const edges = [], marks = {};
  for (const [name, node] of Object.entries(nodes)) {
    for (const [i, from] of (node.of ?? []).entries()) {
      const [[x1, y1], [x2, y2]] = [nodes[from].at, node.at];
      const length = Math.hypot(x2 - x1, y2 - y1), cut = 38 / length;
      const line = svg("line", {
        x1: x1 + (x2 - x1) * cut, y1: y1 + (y2 - y1) * cut, x2: x2 - (x2 - x1) * cut, y2: y2 - (y2 - y1) * cut,
        class: "live-edge",
      });
      const slope = svg("text", { x: x1 + 0.55 * (x2 - x1), y: y1 + 0.55 * (y2 - y1) - 12, class: "live-slope" });
      edges.push({ line, slope, from, to: name, i });
      drawing.append(line, slope);
    }
  }
  for (const [name, node] of Object.entries(nodes)) {
    const value = svg("text", { y: 8, class: "live-value" });
    const gradient = svg("text", { y: 46, class: "live-gradient" });
    marks[name] = {
      value, gradient,
      group: svg("g", { class: "live-node", transform: `translate(${node.at})` },
        svg("circle", { r: 30 }), svg("text", { y: -36, class: "live-name" }, node.label), value, gradient),
    };
    drawing.append(marks[name].group);
  }

  /** Values and gradients after so many steps; what has not been reached is missing. */
  function computed(count) {
    const values = Object.fromEntries(inputs.map((name) => [name, fields[name]])), gradients = {};
    for (const [what, name] of steps.slice(0, count)) {
      const node = nodes[name];
      if (what === "forward") values[name] = node.value(...node.of.map((from) => values[from]));
      else if (what === "seed") gradients[name] = 1;
      else {
        node.slopes(...node.of.map((from) => values[from])).forEach((slope, i) => {
          gradients[node.of[i]] = (gradients[node.of[i]] ?? 0) + gradients[name] * slope;
        });
      }
    }
    return { values, gradients };
  }

  const fields = Object.fromEntries(inputs.map((name) => [name, start[name]]));
  const boxes = inputs.map((name) => {
    const field = make("input", { type: "number", step: 0.1, value: start[name], "aria-label": name });
    field.addEventListener("input", () => {
      if (Number.isFinite(field.valueAsNumber)) { fields[name] = field.valueAsNumber; draw(); }
    });
    return make("label", {}, `${name} `, field);
  });
  const told = make("p", { class: "live-told", role: "status" });

  function words(count, values, gradients) {
    if (count === 0) return "Nothing is computed yet: the four inputs are known.";
    const [what, name] = steps[count - 1], node = nodes[name];
    if (what === "forward") return `Forward: ${node.label} is ${number(values[name], 4)}.`;
    if (what === "seed") return "Backward begins: ∂L/∂L = 1.";
    const slopes = node.slopes(...node.of.map((from) => values[from]));
    const parts = node.of.map((from, i) =>
      `${nodes[from].label} gets ${number(gradients[name], 4)} · ${number(slopes[i], 4)} = ${number(gradients[name] * slopes[i], 4)}`);
    return `Backward through “${node.label}”: ${parts.join("; ")}.`;
  }

  function draw() {
    const { values, gradients } = computed(done);
    const [what, active] = steps[done - 1] ?? [];
    for (const name of Object.keys(nodes)) {
      const mark = marks[name];
      mark.value.textContent = name in values ? number(values[name], 3) : "?";
      mark.gradient.textContent = name in gradients ? `∂L: ${number(gradients[name], 3)}` : "";
      mark.group.classList.toggle("live-active", name === active);
    }
    for (const edge of edges) {
      const known = edge.to in values;
      const slopes = known && nodes[edge.to].slopes(...nodes[edge.to].of.map((from) => values[from]));
      edge.slope.textContent = known && edge.to in gradients ? `× ${number(slopes[edge.i], 2)}` : "";
      edge.line.classList.toggle("live-active", edge.to === active && what !== "seed");
    }
    told.textContent = words(done, values, gradients);
    back.disabled = done === 0;
    on.disabled = done === steps.length;
  }

  const go = (to) => { done = Math.max(0, Math.min(steps.length, to)); draw(); };
  const back = button("Step back", () => go(done - 1)), on = button("Step", () => go(done + 1));
  drawing.style.minWidth = "36rem";
  const place = make("div", { class: "live-scroll", tabindex: "0", role: "group", "aria-label": "The graph" }, drawing);
  box.append(place, make("div", { class: "live-controls" }, ...boxes, back, on,
    button("To the end", () => go(steps.length)), button("From the start", () => go(0))), told);
  draw();
  return { computed: () => computed(steps.length), go };
});
