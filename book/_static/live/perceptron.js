// The perceptron's boundary: drag the points, or teach it one mistake at a time. The rule is that of ml_course.perceptron.
"use strict";

Live.define("perceptron", (box, { points, labels, names }) => {
  const { make, svg, canvas, button, movable, number } = Live;
  const [WIDTH, HEIGHT, REACH] = [480, 360, 3];
  const toX = (x) => ((x + REACH) / (2 * REACH)) * WIDTH;
  const toY = (y) => HEIGHT - ((y + REACH) / (2 * REACH)) * HEIGHT;
  const fromX = (px) => Math.max(-REACH, Math.min(REACH, (px / WIDTH) * 2 * REACH - REACH));
  const fromY = (py) => Math.max(-REACH, Math.min(REACH, ((HEIGHT - py) / HEIGHT) * 2 * REACH - REACH));
  const first = points.map((point) => [...point]);
  let weights = [0, 0], bias = 0, mistakes = 0, next = 0;

  const score = (point) => Live.dot(weights, point) + bias;
  const predicted = (point) => (score(point) >= 0 ? 1 : -1);
  const isWrong = (i) => predicted(points[i]) !== labels[i];

  /** w ← w + y·x, b ← b + y at the next point, in their order, that is on the wrong side. False when there is none. */
  function step() {
    for (let tried = 0; tried < points.length; tried += 1) {
      const i = (next + tried) % points.length;
      if (!isWrong(i)) continue;
      weights = weights.map((w, k) => w + labels[i] * points[i][k]);
      bias += labels[i];
      mistakes += 1;
      next = (i + 1) % points.length;
      return true;
    }
    return false;
  }

  const drawing = canvas(WIDTH, HEIGHT, "Points of two classes and the line that the perceptron draws between them");
  const side = svg("path", { class: "live-side" });
  const line = svg("line", { class: "live-line" });
  const arrow = svg("line", { class: "live-arrow" });
  const told = make("p", { class: "live-told", role: "status" });
  const marks = points.map((_, i) => {
    const shape = labels[i] > 0
      ? svg("rect", { x: -7.5, y: -7.5, width: 15, height: 15, class: "live-orange" })
      : svg("circle", { r: 8, class: "live-blue" });
    const mark = svg("g", { class: "live-point", role: "img" }, svg("circle", { r: 20, class: "live-grip" }), shape);
    movable(mark, drawing, () => [toX(points[i][0]), toY(points[i][1])], (px, py) => {
      points[i] = [fromX(px), fromY(py)];
      draw();
    }, 8);
    return mark;
  });
  drawing.append(side, line, arrow, ...marks);

  function draw() {
    const length = Math.hypot(...weights);
    const shown = length > 0;
    line.toggleAttribute("hidden", !shown);
    arrow.toggleAttribute("hidden", !shown);
    side.setAttribute("d", "");
    if (shown) {
      const [u, v] = weights.map((w) => w / length);
      const [x, y] = [(-bias / length) * u, (-bias / length) * v]; // the point of the line nearest to the middle
      const far = 20;
      const ends = [[x - far * v, y + far * u], [x + far * v, y - far * u]];
      line.setAttribute("x1", toX(ends[0][0])); line.setAttribute("y1", toY(ends[0][1]));
      line.setAttribute("x2", toX(ends[1][0])); line.setAttribute("y2", toY(ends[1][1]));
      arrow.setAttribute("x1", toX(x)); arrow.setAttribute("y1", toY(y));
      arrow.setAttribute("x2", toX(x + 0.7 * u)); arrow.setAttribute("y2", toY(y + 0.7 * v));
      const corners = [...ends, [ends[1][0] + far * u, ends[1][1] + far * v], [ends[0][0] + far * u, ends[0][1] + far * v]];
      side.setAttribute("d", `M${corners.map(([a, b]) => `${toX(a)} ${toY(b)}`).join("L")}Z`);
    }
    points.forEach((point, i) => {
      marks[i].setAttribute("transform", `translate(${toX(point[0])} ${toY(point[1])})`);
      marks[i].classList.toggle("live-wrong", isWrong(i));
      const where = `${names[labels[i] > 0 ? 1 : 0]} at ${number(point[0], 1)}, ${number(point[1], 1)}`;
      marks[i].setAttribute("aria-label", `${where}${isWrong(i) ? ", on the wrong side" : ""}`);
    });
    const wrong = points.filter((_, i) => isWrong(i)).length;
    told.textContent = `w = (${number(weights[0])}, ${number(weights[1])}), b = ${number(bias)}; ` +
      `${mistakes} ${mistakes === 1 ? "update" : "updates"} so far; ` +
      (wrong ? `${wrong} of ${points.length} points on the wrong side` : "every point on its own side");
  }

  function restart() {
    weights = [0, 0]; bias = 0; mistakes = 0; next = 0;
    draw();
  }

  box.append(drawing, make("div", { class: "live-controls" },
    button("Learn from one mistake", () => { step(); draw(); }),
    button("Until there is none (500 at most)", () => { for (let i = 0; i < 500 && step(); i += 1); draw(); }),
    button("Forget", restart),
    button("Points as they were", () => { first.forEach((point, i) => { points[i] = [...point]; }); restart(); }),
  ), told);
  draw();
  return { step, state: () => ({ weights, bias, mistakes }), redraw: draw };
});
