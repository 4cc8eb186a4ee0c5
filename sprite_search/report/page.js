// Draws the figures of the page, shows the sprites of the trial under the pointer, and lets people choose axes.
"use strict";

const read = (name) => JSON.parse(document.getElementById(name)?.textContent ?? "null");
const sheets = read("sheets") ?? {};
const options = {
  responsive: true,
  displaylogo: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

function show(place, trial) {
  const panel = place.parentElement.querySelector(".sheet");
  if (!panel || trial == null) return;
  const sheet = sheets[trial];
  const said = document.createElement("p");
  said.textContent = sheet ? sheet.caption : `Trial ${trial}: there are no artefacts to draw its sprites from.`;
  panel.replaceChildren(said);
  if (sheet) panel.append(Object.assign(new Image(), { src: sheet.image, alt: sheet.caption }));
}

for (const holder of document.querySelectorAll("script[data-plot]")) {
  const place = document.getElementById(holder.dataset.plot);
  const figure = JSON.parse(holder.textContent);
  Plotly.newPlot(place, figure.data, figure.layout, options);
  for (const event of ["plotly_hover", "plotly_click"]) {
    place.on(event, (seen) => show(place, seen.points[0].customdata));
  }
  if (figure.shown != null) show(place, figure.shown);
}

// A figure has no width while it is hidden: what was resized meanwhile is drawn anew when it appears.
function redraw(root) {
  for (const place of root.querySelectorAll(".js-plotly-plot")) if (place.offsetParent) Plotly.Plots.resize(place);
}
for (const fold of document.querySelectorAll("details")) fold.addEventListener("toggle", () => redraw(fold));

// A list whose options are changes to a figure.
for (const chooser of document.querySelectorAll("select[data-figure]")) {
  chooser.addEventListener("change", () => Plotly.update(chooser.dataset.figure, ...JSON.parse(chooser.value)));
}

const explorer = read("explorer-data");
const labels = document.getElementById("labels-shown");

function explore() {
  const place = document.getElementById("explorer");
  const [x, y, colour] = ["x", "y", "colour"].map((axis) => document.getElementById(`explorer-${axis}`).value);
  const [across, up, tint] = [x, y, colour].map((name) => explorer.columns[name]);
  Plotly.update(
    place,
    {
      x: [across.values], y: [up.values], "marker.color": [tint.values], "marker.colorbar.title.text": tint.title,
      "marker.colorbar.tickvals": [tint.ticks ?? null], "marker.colorbar.ticktext": [tint.words ?? null],
    },
    { "xaxis.title.text": across.title, "yaxis.title.text": up.title },
  );
  const found = explorer.correlation[x]?.[y];
  document.getElementById("explorer-says").textContent =
    found == null ? "" : `Rank correlation of the two over configurations: ${found.toFixed(2)}.`;
}

if (explorer) {
  for (const chooser of document.querySelectorAll("select[id^=explorer-]")) chooser.addEventListener("change", explore);
}

if (labels) {
  labels.addEventListener("change", () => {
    for (const choice of document.querySelectorAll("option.labels")) {
      choice.disabled = choice.hidden = !labels.checked;
      const chooser = choice.closest("select");
      if (choice.disabled && choice.selected) chooser.value = chooser.dataset.without;
      else if (labels.checked && choice.value === chooser.dataset.with) chooser.value = choice.value;
    }
    if (explorer) explore();
    redraw(document);
  });
}
