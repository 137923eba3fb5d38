// What a page of the book holds, as XHTML that needs no script: for the PDF and the EPUB (__main__.py).
// Figures to touch stand still as they are first drawn, nothing is folded, answers stand at the chapter's end, and ids
// and links are those of one book: the section `idea` of the page `rnn` is `rnn.xhtml#rnn-idea`.
(names) => {
  const article = document.querySelector("article").cloneNode(true), drawn = document.querySelectorAll("article .live *");
  const name = nameOf(location), all = (selector, within = article) => [...within.querySelectorAll(selector)];
  const make = (tag, className, ...children) => {
    const element = Object.assign(document.createElement(tag), { className });
    element.append(...children);
    return element;
  };
  function nameOf(url) { return url.pathname.split("/").pop().replace(/\.html$/, ""); }
  const idOf = (id, page = name) => `${page}-${decodeURIComponent(id).replace(/[^\w-]/g, "-")}`;

  // The style of a figure to touch goes with it: its sheet stays behind.
  const kept = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-weight", "text-anchor",
    "text-align", "background-color", "background-image", "border-collapse", "width", "height", "padding", "columns"];
  const rgb = (value) => value.replace(/color\(srgb ([\d.]+) ([\d.]+) ([\d.]+)\)/g,
    (_, ...parts) => `rgb(${parts.slice(0, 3).map((part) => Math.round(part * 255)).join(", ")})`);
  all(".live *").forEach((copy, i) => {
    const style = getComputedStyle(drawn[i]), usual = getComputedStyle(drawn[i].parentElement);
    const inSvg = copy instanceof SVGElement && copy.localName !== "svg";
    const wanted = kept.slice(inSvg ? 0 : 5, inSvg ? 8 : undefined).filter((key) =>
      inSvg ? style[key] !== usual[key] : ["TD", "TH", "LI", "UL", "TABLE"].includes(copy.tagName));
    copy.removeAttribute("style");
    for (const key of wanted) copy.style.setProperty(key, rgb(style.getPropertyValue(key)));
  });

  // Code is nearly all coloured spans; those coloured as names are would only make the file large.
  const look = ({ color, fontWeight, fontStyle, backgroundColor }) => [color, fontWeight, fontStyle, backgroundColor].join();
  const lookOf = new Map([...document.querySelectorAll("article pre span")]
    .map((span) => [span.className, span]).reverse());
  for (const [key, span] of lookOf) lookOf.set(key, look(getComputedStyle(span)));
  for (const span of all("pre span"))
    if (!span.className || lookOf.get(span.className) === lookOf.get("n")) span.replaceWith(...span.childNodes);

  all(`.headerlink, .copybtn, .toggle-button, .questions-answers, .questions-known, .chapter-times a, .live-controls,
    .live caption, .toctree-wrapper, script, button`).forEach((element) => element.remove());
  all("details").forEach((box) => {
    box.querySelector("summary").replaceWith(make("p", "unfolded", ...box.querySelector("summary").childNodes));
    box.replaceWith(make("div", box.className, ...box.childNodes));
  });
  all("details p.expanded, p.expanded.admonition-title, p.collapsed.admonition-title").forEach((line) => line.remove());
  all(".live").forEach((box) => box.append(make("p", "still", "This figure can be touched in the book’s page on the web.")));

  // A question, and where its answer is.
  const answers = all(".admonition.dropdown");
  if (answers.length) {
    const section = make("section", "answers", make("h2", "", "Answers"));
    section.id = "answers-at-the-end";
    answers.forEach((box, i) => {
      const title = box.querySelector(".admonition-title"), solution = box.classList.contains("solution");
      box.id ||= `answer-${i + 1}`;
      box.className = "answer";
      const link = make("a", "internal", solution ? title.textContent : "Answer");
      link.href = `#${box.id}`;
      box.replaceWith(make("p", "question", ...(solution ? [] : [...title.cloneNode(true).childNodes, " "]), link));
      section.append(box);
    });
    article.querySelector("section").append(section);
  }

  for (const link of all("a[href]")) {
    const url = new URL(link.getAttribute("href"), location), to = nameOf(url);
    const within = url.protocol === location.protocol && url.host === location.host;
    if (!within) link.className = "external";
    else if (!names.includes(to)) link.replaceWith(...link.childNodes);
    else link.setAttribute("href", `${to}.xhtml#${url.hash ? idOf(url.hash.slice(1), to) : to}`);
  }
  for (const element of all("[id]")) if (!element.closest("svg")) element.id = idOf(element.id);
  for (const image of all("img")) image.setAttribute("src", `images/${image.getAttribute("src").split("/").pop()}`);
  for (const element of all("*")) {
    for (const key of ["tabindex", "title", "border", "loading", "data-figure", "data-alive"]) element.removeAttribute(key);
    if (element.matches("[role=status], .live [role]")) element.removeAttribute("role");
    if (!element.getAttribute("class")) element.removeAttribute("class");
  }

  const words = (heading) => heading.textContent.trim().replace(/\s+/g, " ");
  const top = article.querySelector("section"), foot = document.querySelector(".colophon").cloneNode(true);
  all("a", foot).forEach((link) => link.remove());
  const section = make("section", "page", ...article.childNodes);
  section.id = name;
  return {
    name, title: words(top.querySelector("h1")), lead: words(top.querySelector("p")), colophon: words(foot).replace(/[ ·]+$/, ""), day: foot.querySelector("time")?.textContent,
    sections: [...top.children].filter((one) => one.localName === "section" && one.id)
      .map((one) => [words(one.querySelector("h2, h3")), one.id]),
    images: all("img", section).map((image) => image.getAttribute("src").split("/").pop()),
    body: new XMLSerializer().serializeToString(section),
  };
}
