// A formula or table wider than a phone scrolls in its own box: let the keyboard reach that box, too.
window.addEventListener("load", () => {
  const markWide = () => {
    for (const box of document.querySelectorAll("div.math, .pst-scrollable-table-container")) {
      const wide = box.scrollWidth > box.clientWidth + 1;
      wide ? box.setAttribute("tabindex", "0") : box.removeAttribute("tabindex");
    }
  };
  markWide();
  window.addEventListener("resize", markWide);
});
