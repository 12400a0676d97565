(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const specs = JSON.parse(document.getElementById("specs")?.textContent ?? "{}");

  function look() {
    const [ink, line] = dark.matches ? ["#c3ccd5", "#30363d"] : ["#4a525b", "#e4e8ec"];
    return {
      background: "transparent",
      font: "system-ui, sans-serif",
      view: { stroke: null },
      autosize: { type: "fit-x", contains: "padding" },
      axis: {
        labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line,
        labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", labelOverlap: true,
      },
      axisX: { tickCount: { expr: "max(3, width / 90)" } },
      axisY: { minExtent: 44, maxExtent: 44, tickCount: 5 },
      legend: {
        orient: "top", direction: "horizontal", labelColor: ink, titleColor: ink, labelLimit: 300, labelFontSize: 12,
        titleFontSize: 12, titleFontWeight: "normal", symbolStrokeWidth: 2.5, symbolSize: 220,
        columns: { expr: "width < 500 ? 1 : 0" },
      },
    };
  }

  function draw() {
    for (const place of document.querySelectorAll("[data-chart]")) {
      const options = { mode: "vega-lite", renderer: "svg", actions: false, config: look(), tooltip: { theme: dark.matches ? "dark" : "light" } };
      vegaEmbed(place, structuredClone(specs[place.dataset.chart]), options).catch((error) => {
        place.textContent = `This chart cannot be drawn: ${error.message}`;
        throw error;
      });
    }
  }

  function filterSamples() {
    const form = document.getElementById("filter");
    if (form === null) return;
    const [rollout, words, count] = ["rollout", "words", "count"].map((id) => document.getElementById(id));
    const rows = [...document.querySelectorAll("#samples tbody tr")];
    const texts = rows.map((row) => [...row.querySelectorAll(".text")].map((each) => each.textContent).join("\n").toLowerCase());

    function show() {
      const wanted = words.value.toLowerCase();
      let shown = 0;
      rows.forEach((row, index) => {
        row.hidden = (rollout.value !== "" && row.dataset.rollout !== rollout.value) || !texts[index].includes(wanted);
        shown += row.hidden ? 0 : 1;
      });
      count.textContent = `${shown} of ${rows.length} completions`;
    }

    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    show();
  }

  draw();
  filterSamples();
  dark.addEventListener("change", draw);
})();
