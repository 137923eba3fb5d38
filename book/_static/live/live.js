// Figures a reader can touch. A chapter's cell leaves a box `<div class="live" data-figure="NAME">` with its numbers as
// JSON; the file NAME.js says how the box is drawn. Plain scripts, no modules: a page opened as a file may load these.
"use strict";

const Live = (() => {
  const makers = {};

  /** An element of HTML, or of SVG when its name begins with "svg:"; attributes, listeners ("onclick") and children. */
  function make(name, attributes = {}, ...children) {
    const drawn = name.startsWith("svg:");
    const element = drawn
      ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false && value != null) element.setAttribute(key, value);
    }
    element.append(...children.flat().filter((child) => child != null));
    return element;
  }

  const svg = (name, attributes, ...children) => make(`svg:${name}`, attributes, ...children);

  /** A drawing of the given size in its own units, with words for those who do not see it. */
  const canvas = (width, height, label) =>
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label, class: "live-drawing" });

  function button(text, onclick, attributes = {}) {
    return make("button", { type: "button", onclick, ...attributes }, text);
  }

  /** A labelled slider that tells its value. */
  function slider(label, { min, max, step = 1, value, show = String }, onchange) {
    const output = make("output", {}, show(value));
    const input = make("input", { type: "range", min, max, step, value, "aria-label": label });
    input.addEventListener("input", () => {
      output.textContent = show(Number(input.value));
      onchange(Number(input.value));
    });
    return make("label", { class: "live-slider" }, `${label} `, input, " ", output);
  }

  function choice(label, names, value, onchange) {
    const select = make("select", { "aria-label": label },
      names.map((name, i) => make("option", { value: i, selected: i === value }, name)));
    select.addEventListener("change", () => onchange(Number(select.value)));
    return make("label", {}, `${label} `, select);
  }

  function tick(label, value, onchange) {
    const input = make("input", { type: "checkbox" });
    input.checked = value;
    input.addEventListener("change", () => onchange(input.checked));
    return make("label", { class: "live-tick" }, input, ` ${label}`);
  }

  /** Lets an element of a drawing be moved: with the pointer, and with the arrow keys by `step` units. */
  function movable(element, drawing, where, onmove, step) {
    element.setAttribute("tabindex", "0");
    const toUnits = (event) => {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
      return [point.x, point.y];
    };
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      event.preventDefault();
      element.focus();
    });
    element.addEventListener("pointermove", (event) => {
      if (element.hasPointerCapture(event.pointerId)) onmove(...toUnits(event));
    });
    const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    element.addEventListener("keydown", (event) => {
      if (!(event.key in keys)) return;
      event.preventDefault();
      const [x, y] = where();
      onmove(x + keys[event.key][0] * step, y + keys[event.key][1] * step);
    });
  }

  /** A number with so many digits after the point, and a real minus. */
  const number = (value, digits = 2) => {
    const text = value.toFixed(digits);
    return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
  };

  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const times = (matrix, vector) => matrix.map((row) => dot(row, vector));

  function softmax(scores) {
    const highest = Math.max(...scores);
    if (highest === -Infinity) return scores.map(() => 0);
    const powers = scores.map((score) => Math.exp(score - highest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  }

  function start() {
    for (const box of document.querySelectorAll(".live[data-figure]")) {
      const maker = makers[box.dataset.figure];
      if (!maker || box.dataset.alive) continue;
      box.dataset.alive = "yes";
      const data = JSON.parse(box.querySelector("script")?.textContent || "{}");
      box.querySelector(".live-waiting")?.remove();
      box.live = maker(box, data) || {};
    }
  }

  document.addEventListener("DOMContentLoaded", start);
  return {
    define: (name, maker) => { makers[name] = maker; },
    make, svg, canvas, button, slider, choice, tick, movable, number, dot, times, softmax,
  };
})();
