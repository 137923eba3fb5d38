// A sheet to draw a digit on, a filter that slides over it, and the chapter's trained network, which reads it at once:
// convolution, ReLU, max pooling; the same again; one linear layer; softmax.
"use strict";

Live.define("digits", (box, { size, layers, weight, bias, examples }) => {
  const { make, svg, canvas, button, choice, slider, times, softmax, number } = Live;
  const CELL = 20;
  let sheet = blank(), filter = 0, place = 0, ink = 1;

  function blank() { return Array.from({ length: size }, () => Array(size).fill(0)); }

  /** Cross-correlation of (channel, y, x) with one filter (channel, 3, 3), zeros around, as F.conv2d with padding 1. */
  function correlate(channels, kernel, shift) {
    const [height, width] = [channels[0].length, channels[0][0].length];
    return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => {
      let sum = shift;
      channels.forEach((channel, c) => kernel[c].forEach((row, i) => row.forEach((value, j) => {
        sum += value * (channel[y + i - 1]?.[x + j - 1] ?? 0);
      })));
      return sum;
    }));
  }

  const pooled = (map) => Array.from({ length: map.length >> 1 }, (_, y) => Array.from({ length: map[0].length >> 1 },
    (_, x) => Math.max(map[2 * y][2 * x], map[2 * y][2 * x + 1], map[2 * y + 1][2 * x], map[2 * y + 1][2 * x + 1])));

  /** What the network says of a sheet (y, x) with ink from 0 to 1: the chance of each digit. */
  function classify(pixels) {
    let channels = [pixels];
    for (const layer of layers) {
      channels = layer.weight.map((kernel, f) =>
        pooled(correlate(channels, kernel, layer.bias[f]).map((row) => row.map((value) => Math.max(0, value)))));
    }
    return softmax(times(weight, channels.flat(2)).map((value, k) => value + bias[k]));
  }

  const drawing = canvas(size * CELL, size * CELL, "A sheet of pixels to draw a digit on");
  const response = canvas(size * CELL, size * CELL, "What the chosen filter answers at each place");
  drawing.setAttribute("tabindex", "0");
  drawing.classList.add("live-sheet");
  const pixels = [], answers = [];
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      const square = { x: x * CELL, y: y * CELL, width: CELL, height: CELL };
      pixels.push(svg("rect", { ...square, class: "live-pixel" }));
      answers.push(svg("rect", { ...square, class: "live-pixel live-answer" }));
    }
  }
  const frame = svg("rect", { width: 3 * CELL, height: 3 * CELL, class: "live-window" });
  const spot = svg("rect", { width: CELL, height: CELL, class: "live-window" });
  drawing.append(...pixels, frame);
  response.append(...answers, spot);
  const told = make("p", { class: "live-told", role: "status" });
  const bars = make("ol", { class: "live-bars", start: 0 });

  function paint(x, y) {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    sheet[y][x] = ink;
    place = y * size + x;
    draw();
  }
  const at = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
    return [Math.floor(point.x / CELL), Math.floor(point.y / CELL)];
  };
  drawing.addEventListener("pointerdown", (event) => { drawing.setPointerCapture(event.pointerId); paint(...at(event)); });
  drawing.addEventListener("pointermove", (event) => { if (drawing.hasPointerCapture(event.pointerId)) paint(...at(event)); });
  const arrows = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -size, ArrowDown: size };
  drawing.addEventListener("keydown", (event) => {
    if (event.key in arrows) place = Math.max(0, Math.min(size * size - 1, place + arrows[event.key]));
    else if (event.key === " ") { const [x, y] = [place % size, Math.floor(place / size)]; sheet[y][x] = sheet[y][x] ? 0 : 1; }
    else return;
    event.preventDefault();
    draw();
  });

  function draw() {
    const map = correlate([sheet], layers[0].weight[filter], layers[0].bias[filter]);
    const most = Math.max(...map.flat().map(Math.abs), 1e-9);
    pixels.forEach((pixel, k) => pixel.style.setProperty("--weight", sheet[Math.floor(k / size)][k % size]));
    answers.forEach((answer, k) => {
      const value = map[Math.floor(k / size)][k % size];
      answer.style.setProperty("--weight", Math.abs(value) / most);
      answer.classList.toggle("live-negative", value < 0);
    });
    const [x, y] = [place % size, Math.floor(place / size)];
    frame.setAttribute("x", (x - 1) * CELL); frame.setAttribute("y", (y - 1) * CELL);
    spot.setAttribute("x", x * CELL); spot.setAttribute("y", y * CELL);
    const chances = classify(sheet), best = chances.indexOf(Math.max(...chances));
    bars.replaceChildren(...chances.map((chance, digit) => make("li", { style: `--weight:${chance.toFixed(3)}`, class: digit === best ? "live-best" : "" },
      make("span", {}, `${digit}`), `: ${Math.round(100 * chance)} %`)));
    const empty = sheet.flat().every((value) => value === 0);
    told.textContent = empty
      ? "Draw a digit on the left sheet: with the pointer, or with the arrow keys and the space bar."
      : `The network reads a ${best} (${Math.round(100 * chances[best])} %). Under the frame filter ${filter + 1} answers ${number(map[y][x])}.`;
  }

  const names = layers[0].weight.map((_, i) => String(i + 1));
  box.append(make("div", { class: "live-pair" }, drawing, response, bars), make("div", { class: "live-controls" },
    choice("filter", names, 0, (value) => { filter = value; draw(); }),
    slider("place of the filter", { min: 0, max: size * size - 1, value: 0 }, (value) => { place = value; draw(); }),
    choice("pen", ["ink", "grey", "rubber"], 0, (value) => { ink = [1, 0.5, 0][value]; }),
    choice("a sheet of the test set", ["…", ...examples.map((_, i) => String(i + 1))], 0, (value) => {
      if (value) { sheet = examples[value - 1].map((row) => [...row]); draw(); }
    }),
    button("Clean sheet", () => { sheet = blank(); draw(); })), told);
  if (examples.length) sheet = examples[0].map((row) => [...row]);
  draw();
  return { classify, correlate };
});
