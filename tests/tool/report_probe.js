// Inspects the page that it is added to, in the widths of a phone and a desktop. Writes the colours, then
// a line per fault, into an element.
document.currentScript.remove();
addEventListener("load", () => {
  const found = new Set(), { color, backgroundColor } = getComputedStyle(document.body);
  for (const details of document.querySelectorAll("details")) {
    details.open = true;
    details.dispatchEvent(new Event("toggle")); // as the browser does later
  }
  for (const width of [390, 1280]) {
    document.body.style.width = `${width}px`;
    for (const chart of drawings.keys()) fit(chart); // as its observer does at the next frame
    if (document.body.scrollWidth > width) found.add(`${document.body.scrollWidth} in ${width}`);
    for (const chart of document.querySelectorAll(".chart")) layout(chart, found);
    for (const chart of document.querySelectorAll(".chart")) values(chart, found);
  }
  tables(found);
  if (performance.getEntriesByType("resource").length > 0) found.add("resources were asked for");
  const said = document.body.appendChild(document.createElement("pre"));
  said.id = "probe";
  said.textContent = ["", `${color} on ${backgroundColor}`, ...found, ""].join("\n");
});

// Texts of a chart are inside it, and do not overlap.
function layout(chart, found) {
  const box = chart.getBoundingClientRect();
  const texts = [...chart.querySelectorAll("text")].map((text) =>
    [text.textContent, text.getBoundingClientRect()]);
  if (box.width < 100 || box.height < 20) found.add(`a chart of ${box.width} x ${box.height}`);
  for (const heading of chart.querySelectorAll("th:first-child")) {
    if (heading.offsetWidth < 50) found.add(`a map squeezes '${heading.textContent}'`);
  }
  if (/NaN|Infinity|undefined/.test(chart.outerHTML)) found.add("a chart has values that are none");
  texts.forEach(([text, at], i) => {
    if (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 ||
        at.bottom > box.bottom + 1) {
      found.add(`'${text}' leaves its chart`);
    }
    for (const [other, there] of texts.slice(i + 1)) {
      const across = Math.min(at.right, there.right) - Math.max(at.left, there.left);
      const down = Math.min(at.bottom, there.bottom) - Math.max(at.top, there.top);
      if (across > 1 && down > 3) found.add(`'${text}' covers '${other}'`);
    }
  });
}

// Values appear on hover and with arrow keys, and Escape hides them.
function values(chart, found) {
  const tip = document.getElementById("tip"), marks = chart.querySelectorAll("[data-hint]");
  const shows = (mark) => !tip.hidden && mark?.dataset.hint && tip.textContent === mark.dataset.hint;
  const press = (key) => chart.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  marks[0]?.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
  if (!shows(marks[0])) found.add("a chart shows no value on hover");
  press("ArrowRight");
  if (!shows(marks[1 % marks.length])) found.add("a chart shows no value at a key");
  const at = tip.getBoundingClientRect();
  if (at.left < 0 || at.right > innerWidth) found.add("a value is shown outside the window");
  press("Escape");
  if (!tip.hidden) found.add("Escape leaves a value");
}

// The tables show every value of the results.
function tables(found) {
  const all = (names, what) => new Set([...document.querySelectorAll(names)].map(what));
  const keys = all("th, dt", (at) => at.textContent), texts = all("td, dd", (at) => at.textContent);
  const numbers = all("td, dd", (at) => at.title);
  for (const { document: { rows, context, compare } } of files) {
    for (const row of [...rows, ...(compare?.rows ?? []), context]) {
      for (const [key, value] of Object.entries(row)) {
        const there = typeof value === "number" ? numbers.has(String(value))
          : typeof value !== "string" || texts.has(value);
        if (!there || (!keys.has(key) && value !== null)) found.add(`no ${value} of ${key}`);
      }
    }
  }
}
