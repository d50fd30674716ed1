// Tells the page around this one, line by line, what is wrong with it as a browser has laid it out.
(() => {
window.addEventListener("load", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  setTimeout(() => {
    const found = [];
    const wide = document.documentElement.scrollWidth;
    if (wide > innerWidth) found.push(`the page is ${wide} wide in a window of ${innerWidth}`);
    if (innerWidth !== WIDTH) found.push(`the window is ${innerWidth} wide, not ${WIDTH}`);
    const loaded = performance.getEntriesByType("resource").length;
    if (loaded > 0) found.push(`${loaded} resources were asked for`);
    const charts = document.querySelectorAll(".chart");
    for (const chart of charts) {
      const drawn = chart.querySelector("svg");
      if (drawn) look(drawn, found);
      touch(chart, found);
    }
    found.push(`${charts.length} charts`);
    const style = getComputedStyle(document.body);
    found.push(`${style.color} on ${style.backgroundColor}`);
    parent.postMessage(found.slice(-20).join("\n"), "*");
  }, 500);
});

// Texts of a chart are inside it, and none covers another.
function look(chart, found) {
  const box = chart.getBoundingClientRect();
  const texts = [...chart.querySelectorAll("text:not(.watermark)")].map((text) =>
    [text.textContent, text.getBoundingClientRect()]);
  if (box.width < 100 || box.height < 20) found.push(`a chart of ${box.width} x ${box.height}`);
  if (/NaN|Infinity|undefined/.test(chart.outerHTML)) found.push("a chart has values that are none");
  texts.forEach(([text, at], i) => {
    if (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 ||
        at.bottom > box.bottom + 1) {
      found.push(`'${text}' leaves its chart`);
    }
    for (const [other, there] of texts.slice(i + 1)) {
      const across = Math.min(at.right, there.right) - Math.max(at.left, there.left);
      const down = Math.min(at.bottom, there.bottom) - Math.max(at.top, there.top);
      if (across > 1 && down > 3) found.push(`'${text}' covers '${other}'`);
    }
  });
}

// Its values are shown on hover, and at the next key.
function touch(chart, found) {
  const tip = document.getElementById("tip");
  const marks = chart.dataset.hint ? [chart] : [...chart.querySelectorAll("[data-hint]")];
  const shows = (mark) => !tip.hidden && mark?.dataset.hint && tip.textContent === mark.dataset.hint;
  marks[0]?.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
  if (!shows(marks[0])) found.push("a chart shows no value on hover");
  chart.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
  if (!shows(marks[1 % marks.length])) found.push("a chart shows no value at a key");
  const at = tip.getBoundingClientRect();
  if (at.left < 0 || at.right > innerWidth) found.push("a value is shown outside the window");
}
})();
