"use strict";
// Shows the value nearest to the pointer. Charts are complete without this script.
for (const chart of document.querySelectorAll("svg.curve")) {
  const points = chart.dataset.points.split(";").map((point) => {
    const [x, y, words] = point.split("|");
    return { x: Number(x), y: Number(y), words };
  });
  const cursor = chart.querySelector(".cursor");
  const [rule, dot, value] = cursor.children;
  const width = chart.viewBox.baseVal.width;
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    const near = points.reduce((best, point) => (Math.abs(point.x - at) < Math.abs(best.x - at) ? point : best));
    rule.setAttribute("x1", near.x);
    rule.setAttribute("x2", near.x);
    dot.setAttribute("cx", near.x);
    dot.setAttribute("cy", near.y);
    value.textContent = near.words;
    value.setAttribute("x", Math.min(Math.max(near.x, 60), width - 60));
    cursor.removeAttribute("hidden");
  });
  chart.addEventListener("pointerleave", () => cursor.setAttribute("hidden", ""));
}
// Scrolled to by script: in a sandboxed frame, as Kubeflow shows a report, following a link to #scores would
// load an empty page.
for (const link of document.querySelectorAll('a[href^="#"]')) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById(link.getAttribute("href").slice(1))?.scrollIntoView({ behavior: "smooth" });
  });
}
// On paper, collapsed sections cannot be opened.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
