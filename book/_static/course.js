// What every page needs of its own. What it remembers stays in the reader's browser.
"use strict";

const BOXES = "div.math, span.math, .pst-scrollable-table-container, .bd-article figure";

/** A formula, table or figure wider than a phone scrolls in its own box: let the keyboard reach that box, too. */
function reachWideBoxes() {
  // At once, and again when the window turns or an answer is unfolded.
  const sizes = new ResizeObserver((entries) => {
    for (const { target: box } of entries) {
      const wide = box.scrollWidth > box.clientWidth + 1;
      wide ? box.setAttribute("tabindex", "0") : box.removeAttribute("tabindex");
    }
  });
  document.querySelectorAll(BOXES).forEach((box) => sizes.observe(box));
}

/** Which questions of a chapter the reader knew the answer to; nothing where the browser keeps nothing. */
const Known = {
  key: (chapter) => `course:questions:${chapter}`,
  of(chapter) {
    try { return JSON.parse(localStorage.getItem(this.key(chapter))) ?? {}; } catch { return {}; }
  },
  set(chapter, known) {
    try { localStorage.setItem(this.key(chapter), JSON.stringify(known)); } catch { /* private window */ }
  },
};

const chapterOf = (address) => address.replace(/[?#].*/, "").split("/").pop().replace(/\.html$/, "");

/** Two buttons under each answer, and how many are known beside the heading. */
function askQuestions() {
  const section = document.getElementById("questions-to-check-yourself");
  if (!section) return;
  const chapter = chapterOf(location.pathname), known = Known.of(chapter);
  const questions = [...section.querySelectorAll(".admonition.dropdown")];
  const count = document.createElement("p");
  count.className = "questions-known";
  count.setAttribute("role", "status");
  section.querySelector("h2").after(count);
  // The same beside the chapter's goals, as a way to the questions.
  const progress = Object.assign(document.createElement("a"), { href: `#${section.id}` });
  document.querySelector(".admonition .chapter-times")?.append(" ", progress);

  function tell() {
    const knew = questions.filter((_, i) => known[i] === true).length;
    const told = knew === questions.length ? "You knew them all." : "Say it aloud before you unfold the answer.";
    count.textContent = `${knew} of ${questions.length} known. ${told}`;
    progress.textContent = `Questions: ${knew} of ${questions.length} known.`;
    Known.set(chapter, { ...known, asked: questions.length });
    markProgress();
  }

  questions.forEach((question, i) => {
    const answers = document.createElement("p");
    answers.className = "questions-answers";
    const buttons = [["I knew it", true], ["Not yet", false]].map(([text, value]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => { known[i] = value; press(); tell(); });
      answers.append(button);
      return [button, value];
    });
    const press = () => buttons.forEach(([button, value]) => button.setAttribute("aria-pressed", known[i] === value));
    press();
    question.append(answers);
  });
  tell();
}

/** Beside each chapter in the side bar: how many of its questions are known, once there is one. */
function markProgress() {
  for (const link of document.querySelectorAll(".bd-links a.reference.internal")) {
    const { asked, ...known } = Known.of(chapterOf(link.href === "" || link.getAttribute("href") === "#" ? location.pathname : link.href));
    const knew = Object.values(known).filter((value) => value === true).length;
    let mark = link.querySelector(".questions-mark");
    if (!knew || !asked) { mark?.remove(); continue; }
    if (!mark) link.append(mark = Object.assign(document.createElement("span"), { className: "questions-mark" }));
    mark.textContent = knew === asked ? " ✓" : ` ${knew}/${asked}`;
    mark.title = `${knew} of ${asked} questions known`;
  }
}

window.addEventListener("DOMContentLoaded", () => {
  askQuestions();
  markProgress();
});
window.addEventListener("load", reachWideBoxes);
