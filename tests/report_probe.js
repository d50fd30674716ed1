// Tells the page around this one, line by line, what is wrong with it as a browser has laid it out.
window.addEventListener("load", () => {
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} wide in a window of ${innerWidth}`);
  if (innerWidth !== WIDTH) found.push(`the window is ${innerWidth} wide, not ${WIDTH}`);
  const loaded = performance.getEntriesByType("resource").length;
  if (loaded > 0) found.push(`${loaded} resources were asked for`);
  const charts = document.querySelectorAll(".panel svg");
  for (const chart of charts) look(chart, found);
  found.push(`${charts.length} charts`);
  const style = getComputedStyle(document.body);
  found.push(`${style.color} on ${style.backgroundColor}`);
  parent.postMessage(found.slice(-20).join("\n"), "*");
});

// Texts of a chart are inside it, and none covers another.
function look(chart, found) {
  const box = chart.getBoundingClientRect();
  const texts = [...chart.querySelectorAll("text:not(.imitated)")].map((text) =>
    [text.textContent.replace(text.querySelector("title")?.textContent ?? "", ""),
     text.getBoundingClientRect()]);
  if (box.width < 100 || box.height < 20) found.push(`a chart of ${box.width} x ${box.height}`);
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
