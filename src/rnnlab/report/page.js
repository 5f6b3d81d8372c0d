"use strict";
// The page's own script: theme, sorting, and plots, which are drawn when they come into view. Nothing here asks anything of the network.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isTouch = matchMedia("(pointer: coarse)").matches;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const started = new Set();
  const drawn = new Set();

  // --- theme ---
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const showTheme = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    for (const canvas of drawn) window.Plotly.relayout(canvas, colours(canvas.layout));
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  dark.addEventListener("change", showTheme);

  // What a theme changes in a plot's layout, as plotly names it.
  function colours(layout) {
    const style = getComputedStyle(root);
    const [ink, rule, faint, panel] = ["--ink", "--rule", "--faint", "--panel"].map((name) => style.getPropertyValue(name).trim());
    const found = { "font.color": ink, "hoverlabel.bgcolor": panel, "hoverlabel.bordercolor": faint, "hoverlabel.font.color": ink };
    Object.assign(found, { "modebar.color": faint, "modebar.activecolor": ink, "modebar.bgcolor": "rgba(0,0,0,0)" });
    for (const axis of Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name))) {
      Object.assign(found, { [`${axis}.gridcolor`]: rule, [`${axis}.linecolor`]: faint, [`${axis}.tickcolor`]: faint });
    }
    return found;
  }

  function set(target, path, value) {
    const names = path.split(".");
    const last = names.pop();
    for (const name of names) target = target[name] ??= {};
    target[last] = value;
  }

  // --- sorting ---
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      heading.querySelector("button").addEventListener("click", () => {
        const isUp = heading.getAttribute("aria-sort") !== "ascending";
        for (const other of headings) other.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
        sort(table.tBodies[0], column, heading.classList.contains("number"), isUp ? 1 : -1);
      });
    });
  }

  function sort(body, column, isNumber, sign) {
    const keyOf = (row) => row.cells[column].dataset.key;
    const compare = (a, b) => (isNumber ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
    const rows = [...body.rows].sort((a, b) => {
      const [first, second] = [keyOf(a), keyOf(b)];
      if (first === "" || second === "") return (first === "") - (second === "");
      return sign * compare(first, second);
    });
    body.append(...rows);
  }

  // --- plots ---
  // Plotly would add a button that sends a plot to its makers: what is not named here is not there.
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    displayModeBar: isTouch ? false : "hover",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };
  let library;
  function loadLibrary() {
    library ??= (async () => {
      const element = document.getElementById("library");
      const bytes = Uint8Array.from(atob(element.textContent), (sign) => sign.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      const script = document.createElement("script");
      script.textContent = await new Response(stream).text();
      document.head.append(script);
      script.remove();
      element.remove();
    })();
    return library;
  }

  async function draw(canvas) {
    if (started.has(canvas)) return;
    started.add(canvas);
    const { data, layout } = figures[canvas.dataset.figure];
    const menu = layout.updatemenus?.[0];
    delete layout.updatemenus;
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: 12.5 };
    if (isTouch) layout.dragmode = false; // a finger scrolls the page
    layout.hoverlabel = { font: { ...layout.font } };
    for (const [path, value] of Object.entries(colours(layout))) set(layout, path, value);
    await window.Plotly.newPlot(canvas, data, layout, CONFIG);
    drawn.add(canvas);
    if (menu) addSwitch(canvas, menu.buttons);
  }

  function addSwitch(canvas, choices) {
    const box = canvas.parentElement.querySelector(".switch");
    const buttons = choices.map((choice, place) => {
      const element = document.createElement("button");
      element.type = "button";
      element.textContent = unescaped(choice.label);
      element.setAttribute("aria-pressed", String(place === 0));
      element.addEventListener("click", () => {
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === element));
        window.Plotly.update(canvas, structuredClone(choice.args[0]), structuredClone(choice.args[1]));
      });
      return element;
    });
    box.append(...buttons);
    box.hidden = false;
  }

  // Labels are escaped for plotly; a button takes text as it is.
  function unescaped(text) {
    return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  }

  function fail(error) {
    console.error(error);
    for (const canvas of document.querySelectorAll(".canvas:empty")) {
      canvas.textContent = "This plot needs a browser of 2023 or newer; the numbers are in the tables.";
      canvas.style.minHeight = "0";
    }
  }

  const canvases = [...document.querySelectorAll(".canvas")];
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((found) => found.isIntersecting)) {
        observer.unobserve(entry.target);
        loadLibrary().then(() => draw(entry.target)).catch(fail);
      }
    },
    { rootMargin: "400px" },
  );
  for (const canvas of canvases) {
    canvas.style.minHeight = `${canvas.dataset.height}px`;
    observer.observe(canvas);
  }

  // --- print: everything open, on white, no wider than paper ---
  const PAPER_PX = 640;
  let before;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    for (const details of document.querySelectorAll("details")) details.open = true;
    showTheme();
    for (const canvas of drawn) window.Plotly.relayout(canvas, { width: Math.min(canvas.clientWidth, PAPER_PX) });
  });
  addEventListener("afterprint", () => {
    if (before === undefined) delete root.dataset.theme;
    else root.dataset.theme = before;
    showTheme();
    for (const canvas of drawn) window.Plotly.relayout(canvas, { width: null, autosize: true });
  });
  showTheme();
})();
