// A closer look: the picture is enlarged within its place. `closer` holds the scale, and where the picture's
// corner lies, as shares of the place; no part of the place is ever left empty.
const MOST_CLOSER = 8;
const picture = element.querySelector(".dm-picture");
const closer = { scale: 1, x: 0, y: 0 };
const fingers = new Map();

const within = (value, low, high) => Math.min(high, Math.max(low, value));

function look(scale, x, y) {
  closer.scale = within(scale, 1, MOST_CLOSER);
  closer.x = within(x, 1 - closer.scale, 0);
  closer.y = within(y, 1 - closer.scale, 0);
  picture.style.transform = `translate(${100 * closer.x}%, ${100 * closer.y}%) scale(${closer.scale})`;
  element.querySelector(".dm-closeness").textContent = `${Math.round(100 * closer.scale)} %`;
  element.querySelector(".dm-zoom").classList.toggle("dm-close", closer.scale > 1);
  pickTouch();
  draw();
}

// The point of the place at (x, y), as shares of it, stays where it is.
function lookAt(scale, x, y) {
  const factor = within(scale, 1, MOST_CLOSER) / closer.scale;
  look(closer.scale * factor, x - (x - closer.x) * factor, y - (y - closer.y) * factor);
}

function shares(event) {
  const area = stage.getBoundingClientRect();
  return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
}

canvas.addEventListener("wheel", (event) => {
  // A page that is scrolled goes on scrolling, and so does one whose picture is as small as it gets.
  const isOut = event.deltaY > 0;
  if (!view || (!event.ctrlKey && (isOut ? closer.scale === 1 : closer.scale === 1 && scrollY > 0))) return;
  event.preventDefault();
  lookAt(closer.scale * Math.exp(-within(event.deltaY, -60, 60) / 150), ...shares(event));
}, { passive: false });

// Two fingers enlarge and move the picture; what the first of them began is forgotten.
function pinch(event) {
  const [before, other] = [fingers.get(event.pointerId), [...fingers].find(([id]) => id !== event.pointerId)[1]];
  const now = shares(event);
  fingers.set(event.pointerId, now);
  const apart = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1e-6;
  const middle = (at) => [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2];
  const [from, to] = [middle(before), middle(now)];
  look(closer.scale, closer.x + to[0] - from[0], closer.y + to[1] - from[1]);
  lookAt((closer.scale * apart(now)) / apart(before), ...to);
}

function pan(event) {
  const now = shares(event);
  look(closer.scale, closer.x + now[0] - drag.pan[0], closer.y + now[1] - drag.pan[1]);
  drag.pan = now;
}

const ZOOMS = {
  closer: () => lookAt(closer.scale * 1.5, 0.5, 0.5),
  farther: () => lookAt(closer.scale / 1.5, 0.5, 0.5),
  whole: () => look(1, 0, 0),
};
