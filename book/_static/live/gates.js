// The gates of a trained LSTM while it reads what the reader writes, letter by letter. The step is that of
// ml_course.gated.lstm_step: rows of the weights are input gate, forget gate, candidate, output gate.
"use strict";

Live.define("gates", (box, { letters, embedding, weight_ih, weight_hh, bias_ih, bias_hh, output, bias, classes, text: first }) => {
  const { make, choice, times, softmax, number } = Live;
  const hidden = weight_hh[0].length, sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const numbers = new Map(letters.map((letter, i) => [letter, i]));
  let text = first, unit = 0;

  /** What happens at each letter: gates, cell and state of every unit; and what is said at the end. */
  function read(given) {
    let h = Array(hidden).fill(0), c = Array(hidden).fill(0);
    const steps = [...given].filter((letter) => numbers.has(letter)).map((letter) => {
      const x = embedding[numbers.get(letter)];
      const fromInput = times(weight_ih, x), fromState = times(weight_hh, h);
      const sums = fromInput.map((value, k) => value + bias_ih[k] + fromState[k] + bias_hh[k]);
      const part = (k) => sums.slice(k * hidden, (k + 1) * hidden);
      const [input, forget, output] = [part(0), part(1), part(3)].map((gate) => gate.map(sigmoid));
      const candidate = part(2).map(Math.tanh);
      c = c.map((cell, k) => forget[k] * cell + input[k] * candidate[k]);
      h = c.map((cell, k) => output[k] * Math.tanh(cell));
      return { letter, input, forget, candidate, output, cell: c, state: h };
    });
    return { steps, chances: softmax(times(output, h).map((value, k) => value + bias[k])) };
  }

  const ROWS = [["forget", "forget gate"], ["input", "input gate"], ["candidate", "candidate"], ["output", "output gate"], ["cell", "cell"], ["state", "state"]];
  const table = make("table", { class: "live-matrix" });
  const told = make("p", { class: "live-told", role: "status" });
  const field = make("input", { type: "text", value: text, "aria-label": "text to read", maxlength: 24, class: "live-text" });
  field.addEventListener("input", () => { text = field.value; draw(); });

  function draw() {
    const { steps, chances } = read(text);
    const value = (step, name) => (unit ? step[name][unit - 1] : step[name].reduce((a, b) => a + b, 0) / hidden);
    table.replaceChildren(
      make("caption", { class: "live-hidden" }, "Each column a letter, each row what happens in the LSTM when it is read"),
      make("tr", {}, make("td"), steps.map((step) => make("th", { scope: "col" }, step.letter === " " ? "␣" : step.letter))),
      ...ROWS.map(([name, told]) => make("tr", {}, make("th", { scope: "row" }, told), steps.map((step) => {
        const amount = value(step, name), share = Math.min(1, Math.abs(amount));
        return make("td", {
          style: `--weight:${share.toFixed(3)}`, title: amount.toFixed(4),
          class: amount < 0 ? "live-negative" : "",
        }, number(amount, 1));
      }))));
    const order = classes.map((name, i) => [chances[i], name]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    const strange = [...new Set(text)].filter((letter) => !numbers.has(letter));
    const without = strange.length ? ` It has never seen ${strange.join(" ")}, and leaves that out.` : "";
    told.textContent = steps.length
      ? `It guesses: ${order.map(([chance, name]) => `${name} (${Math.round(100 * chance)} %)`).join(", ")}.`
      : "Write something for it to read.";
    told.textContent += without;
  }

  const units = ["mean of all", ...Array.from({ length: hidden }, (_, i) => String(i + 1))];
  box.append(make("div", { class: "live-controls" }, make("label", { class: "live-wide" }, "text ", field),
    choice("unit", units, 0, (chosen) => { unit = chosen; draw(); })),
  make("div", { class: "live-scroll", tabindex: "0", role: "group", "aria-label": "The gates" }, table), told);
  draw();
  return { read };
});
