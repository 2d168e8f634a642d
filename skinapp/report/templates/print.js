// Figures as wide as an A4 or letter page: at screen width, they would shrink the whole printout.
addEventListener("beforeprint", () => document.querySelectorAll(".js-plotly-plot").forEach(
  figure => Plotly.relayout(figure, { width: 660 })));
addEventListener("afterprint", () => document.querySelectorAll(".js-plotly-plot").forEach(
  figure => Plotly.relayout(figure, { width: null, autosize: true })));
