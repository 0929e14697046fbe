const figure = element.querySelector(".dm-losses");
const WIDTH = 100;
const HEIGHT = 28;
const MARGIN = 2;

function points(values, numSteps) {
  const low = Math.min(...values);
  const range = Math.max(...values) - low || 1;
  const across = Math.max(1, numSteps - 1);
  return values
    .map((value, step) => {
      const x = (step / across) * WIDTH;
      const y = HEIGHT - MARGIN - ((value - low) / range) * (HEIGHT - 2 * MARGIN);
      return `${x.toFixed(2)},${y.toFixed(2)}`;
    })
    .join(" ");
}

function sync() {
  const view = props.value;
  figure.hidden = !view?.series;
  if (figure.hidden) return;
  for (const row of figure.querySelectorAll("[data-series]")) {
    const values = view.series[row.dataset.series] ?? [];
    row.querySelector("polyline").setAttribute("points", points(values, view.numSteps));
    row.querySelector("svg + span").textContent = values.length ? values.at(-1).toPrecision(3) : "–";
  }
}

watch("value", sync);
sync();
