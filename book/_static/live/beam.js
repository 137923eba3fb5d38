// Beam search as a tree: at every step each kept way is continued by every letter, and the best few are kept.
// The model is a table of log-probabilities, letter by letter; the last letter is the end sign.
"use strict";

Live.define("beam", (box, { letters, start, table, steps: most, beam: first = 2 }) => {
  const { make, svg, canvas, button, slider, number } = Live;
  const END = letters.length - 1, SHOWN = 4; // continuations drawn for each kept way, the likeliest
  let beam = first, alpha = 0, tree = [];

  const scoreOf = (way) => way.total / Math.max(1, way.letters.length) ** alpha;

  /** One step of `ml_course.seq2seq.beam_search`: all extensions of the kept ways, the `beam` best of them kept. */
  function extend(kept) {
    const all = kept.flatMap((way, origin) => {
      if (way.ended) return [{ ...way, origin, itself: true }];
      const row = way.letters.length ? table[way.letters.at(-1)] : start;
      return row.map((logarithm, letter) => ({
        letters: [...way.letters, letter], total: way.total + logarithm, origin, ended: letter === END, step: logarithm,
      }));
    }).filter((way) => way.total > -Infinity);
    const order = [...all].sort((a, b) => scoreOf(b) - scoreOf(a));
    const chosen = new Set(order.slice(0, beam));
    // For the picture: what was kept, and the best of what was not.
    const seen = kept.map(() => 0);
    const drawn = order.filter((way) => chosen.has(way) || (seen[way.origin] += 1) <= SHOWN);
    return { drawn, kept: order.slice(0, beam), chosen };
  }

  function grow() {
    const last = tree.at(-1);
    if (last.kept.every((way) => way.ended) || tree.length > most) return false;
    tree.push(extend(last.kept));
    return true;
  }

  function restart() {
    const root = { letters: [], total: 0, ended: false };
    tree = [{ drawn: [root], kept: [root], chosen: new Set([root]) }];
  }

  const place = make("div", { class: "live-scroll", tabindex: "0", role: "group", "aria-label": "The tree of the search" });
  const told = make("p", { class: "live-told", role: "status" });
  const word = (way) => way.letters.map((letter) => (letter === END ? "·" : letters[letter])).join("") || "start";
  const ending = (text) => (text.length > 6 ? `…${text.slice(-6)}` : text); // what a box has room for

  function draw() {
    const column = 128, row = 30, wide = 104;
    const height = Math.max(...tree.map((level) => level.drawn.length)) * row + 20;
    const width = Math.max(640, tree.length * column + 40);
    const drawing = canvas(width, height, "Each column is a step; kept ways are filled");
    drawing.style.minWidth = `${width * 0.8}px`; // on a phone the tree scrolls rather than shrink beyond reading
    const spots = tree.map((level, i) => level.drawn.map((_, j) =>
      [20 + i * column, height / 2 + (j - (level.drawn.length - 1) / 2) * row]));
    tree.forEach((level, i) => level.drawn.forEach((way, j) => {
      const [x, y] = spots[i][j], isKept = level.chosen.has(way);
      if (i > 0) {
        const from = tree[i - 1].drawn.indexOf(tree[i - 1].kept[way.origin]);
        const [x0, y0] = spots[i - 1][from];
        drawing.append(svg("path", {
          d: `M${x0 + wide} ${y0}C${x0 + wide + 12} ${y0} ${x - 12} ${y} ${x} ${y}`, class: `live-edge${isKept ? " live-active" : ""}`,
        }));
      }
      drawing.append(svg("g", { class: `live-way${isKept ? " live-kept" : ""}` },
        svg("rect", { x, y: y - 12, width: wide, height: 24, rx: 6 }),
        svg("text", { x: x + 6, y: y + 4 }, ending(word(way))),
        svg("text", { x: x + wide - 5, y: y + 4, class: "live-small" }, i ? number(scoreOf(way), 1) : "")));
    }));
    place.replaceChildren(drawing);
    const kept = tree.at(-1).kept;
    const over = kept.every((way) => way.ended) || tree.length > most;
    told.textContent = `${over ? "Over" : `Step ${tree.length - 1}`}. Kept: ` +
      kept.map((way) => `${word(way)} (log-probability ${number(way.total, 3)}` +
        `${alpha ? `, score ${number(scoreOf(way), 3)}` : ""})`).join(", ");
  }

  const again = () => { const steps = tree.length - 1; restart(); for (let i = 0; i < steps && grow(); i += 1); draw(); };
  box.append(make("div", { class: "live-controls" },
    slider("beam", { min: 1, max: 6, value: beam }, (value) => { beam = value; again(); }),
    slider("length exponent α", { min: 0, max: 1, step: 0.1, value: alpha, show: (x) => x.toFixed(1) }, (value) => { alpha = value; again(); }),
    button("Step", () => { grow(); draw(); }),
    button("To the end", () => { while (grow()); draw(); }),
    button("From the start", () => { restart(); draw(); })), place, told);
  restart();
  grow();
  draw();
  return {
    search(width, exponent) {
      [beam, alpha] = [width, exponent];
      restart();
      while (grow());
      return tree.at(-1).kept.map((way) => ({ letters: way.letters, total: way.total, score: scoreOf(way) }));
    },
  };
});
