// How the search orders what it has found: chapters before the back matter, whose glossary and references name every
// term but explain none at length; of chapters that answer equally well the earlier one, where an idea is introduced.
var Scorer = (() => {
  let order;

  /** A chapter's place in the book, as its side bar tells it; nothing for pages of the back matter, its last part. */
  function placeOf(page) {
    if (!order) {
      const parts = [...document.querySelectorAll(".bd-links .bd-toc-item > ul")].slice(0, -1);
      order = parts.flatMap((part) => [...part.querySelectorAll("a")])
        .map((link) => link.getAttribute("href").replace(/\.html$/, ""));
    }
    const place = order.indexOf(page);
    return place < 0 ? undefined : place;
  }

  return {
    score([page, , , , score]) {
      const place = placeOf(page);
      return place === undefined ? score / 1000 : score + 1 - place / 100;
    },
    // The rest is as in Sphinx's own scorer, which this one replaces as a whole.
    objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
    title: 15, partialTitle: 7, term: 5, partialTerm: 2,
  };
})();
