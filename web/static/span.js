// In and out markers over the whole file, in frames at the model's rate; what is pulled too far takes the other
// marker along, since a model takes only some lengths.
const box = element.querySelector(".dm-span");
const words = box.querySelector("p");
const inner = box.querySelector("i");
const [from, to] = ["in", "out"].map((end) => box.querySelector(`[data-end=${end}]`));
let view = null;
let start = 0;
let count = 0;

const clock = (frame) => {
  const seconds = frame / view.fps;
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
};

// The nearest length that the model takes, not above `most`.
function fitting(wanted, most) {
  const steps = Math.round((wanted - view.least) / view.step);
  const above = Math.floor((Math.min(most, view.most) - view.least) / view.step);
  return view.least + view.step * Math.max(0, Math.min(steps, above));
}

function show() {
  [from.value, to.value] = [start, start + count];
  inner.style.left = `${(100 * start) / view.total}%`;
  inner.style.width = `${(100 * count) / view.total}%`;
  from.setAttribute("aria-valuetext", clock(start));
  to.setAttribute("aria-valuetext", clock(start + count));
  words.textContent = `Using ${clock(start)} to ${clock(start + count)} of ${clock(view.total)}. Drag the ends to choose another part.`;
}

function sync() {
  // A choice is on its way to the server, and no view.
  if (props.value && !props.value.total) return;
  view = props.value;
  box.hidden = !view;
  if (!view) return;
  ({ start, count } = view);
  from.max = to.max = view.total;
  show();
}

from.addEventListener("input", () => {
  start = Math.min(Number(from.value), view.total - view.least);
  count = fitting(count, view.total - start);
  show();
});
to.addEventListener("input", () => {
  const end = Math.max(Number(to.value), view.least);
  count = fitting(end - start, end);
  start = Math.max(0, end - count);
  show();
});
for (const marker of [from, to]) {
  marker.addEventListener("change", () => {
    props.value = { start, count };
    trigger("select");
  });
}
watch("value", sync);
sync();
