// Attention over a sentence the reader writes: softmax(QKᵀ/(√d · T)) of the chapter's word vectors, each word asking
// every word, in as many heads as wanted, with or without a mask that hides the words to come.
"use strict";

Live.define("attention", (box, { words, vectors, sentence }) => {
  const { make, slider, choice, tick, softmax, dot, number } = Live;
  const width = vectors[0].length, known = new Map(words.map((word, i) => [word, vectors[i]]));
  const HEADS = [1, 2, 4, 8];
  let text = sentence, heads = 1, head = 0, causal = false, temperature = 1;

  const parts = () => text.toLowerCase().match(/\p{L}+/gu) ?? [];

  /** Weights (query, key) of one head among the known words; words without a vector take no part. */
  function weights(tokens) {
    const size = width / heads;
    const pieces = tokens.map((token) => known.get(token)?.slice(head * size, (head + 1) * size));
    return pieces.map((query, i) => (query === undefined ? pieces.map(() => 0) : softmax(pieces.map((key, j) =>
      key === undefined || (causal && j > i) ? -Infinity : dot(query, key) / (Math.sqrt(size) * temperature)))));
  }

  const table = make("table", { class: "live-matrix" });
  const told = make("p", { class: "live-told", role: "status" });
  const field = make("input", { type: "text", value: text, "aria-label": "sentence", class: "live-text", maxlength: 120 });
  field.addEventListener("input", () => { text = field.value; draw(); });
  const which = make("span");

  function chooseHead() {
    head = Math.min(head, heads - 1);
    const names = Array.from({ length: heads }, (_, i) => `${i + 1} of ${heads}`);
    which.replaceChildren(choice("head", names, head, (value) => { head = value; draw(); }));
  }

  function draw() {
    const tokens = parts(), rows = weights(tokens);
    table.replaceChildren(
      make("caption", { class: "live-hidden" }, "Each row: how much its word attends to the word of each column"),
      make("tr", {}, make("td"), tokens.map((token) => make("th", { scope: "col" }, make("span", {}, token)))),
      ...rows.map((row, i) => make("tr", {}, make("th", { scope: "row" }, tokens[i]),
        row.map((weight) => make("td", {
          style: `--weight:${weight.toFixed(3)}`, title: weight.toFixed(4),
        }, weight >= 0.005 ? number(weight) : "")))));
    const strange = tokens.filter((token) => !known.has(token));
    told.textContent = strange.length
      ? `Without a vector, so left out: ${[...new Set(strange)].join(", ")}. Known are ${words.length} frequent words of the text.`
      : "Each row sums to 1.";
  }

  box.append(make("div", { class: "live-controls" }, make("label", { class: "live-wide" }, "sentence ", field),
    choice("heads", HEADS.map(String), 0, (value) => { heads = HEADS[value]; chooseHead(); draw(); }), which,
    tick("hide the words to come", causal, (value) => { causal = value; draw(); }),
    slider("temperature", { min: -2, max: 2, step: 0.1, value: 0, show: (x) => (2 ** x).toFixed(2) },
      (value) => { temperature = 2 ** value; draw(); })),
  make("div", { class: "live-scroll", tabindex: "0", role: "group", "aria-label": "The weights" }, table), told);
  chooseHead();
  draw();
  return {
    weights(sentenceGiven, headsGiven, headGiven, causalGiven, temperatureGiven) {
      [text, heads, head, causal, temperature] = [sentenceGiven, headsGiven, headGiven, causalGiven, temperatureGiven];
      return weights(parts());
    },
  };
});
