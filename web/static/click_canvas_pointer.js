// Mouse, touch and keyboard become commands.
const DRAG_PIXELS = 5;
const [LEFT, MIDDLE, RIGHT] = [0, 1, 2];
const MOST_STROKE_POINTS = 400;
let tool = "positive";
let drag = null;
let cursor = null;
let isSpaceDown = false;
let brush = 0.035; // Its radius, as a share of the frame's longer side.
let brushAt = null;

const inFrame = (value, size) => Math.min(size - 1e-3, Math.max(0, value));

function framePosition(event) {
  const area = base.getBoundingClientRect();
  return {
    x: inFrame(((event.clientX - area.left) / area.width) * view.width, view.width),
    y: inFrame(((event.clientY - area.top) / area.height) * view.height, view.height),
  };
}

const addClick = (at, isPositive, frame = shown) =>
  act({ do: "click", frame, x: at.x, y: at.y, is_positive: isPositive });

function draw() {
  const ratio = devicePixelRatio;
  ink.clearRect(0, 0, canvas.width, canvas.height);
  if (!view) return;
  ink.save();
  ink.translate(closer.x * canvas.width, closer.y * canvas.height);
  const scaleX = (closer.scale * canvas.width) / view.width;
  const scaleY = (closer.scale * canvas.height) / view.height;
  const onFrame = (command) => command.frame === shown;
  const pending = [...underWay, ...waiting].filter(onFrame);
  const said = bench.frame === shown ? bench.prompt : { clicks: [], box: null };
  const clicks = [...said.clicks, ...pending.filter((command) => command.do === "click")];
  const isNew = !pending.length && bench.objects.every((object) => !object.frames.length);
  if (view.hint && shown === 0 && isNew) drawHint(view.hint[0] * scaleX, view.hint[1] * scaleY, ratio);
  const rectangle = drag?.isBox ? boxBetween(drag.from, drag.to)
    : pending.findLast((command) => command.do === "box") ?? said.box;
  if (rectangle) {
    outline(() => {
      ink.beginPath();
      ink.rect(rectangle.x0 * scaleX, rectangle.y0 * scaleY,
        (rectangle.x1 - rectangle.x0) * scaleX, (rectangle.y1 - rectangle.y0) * scaleY);
    }, ratio);
  }
  for (const click of clicks) drawMarker(click.x * scaleX, click.y * scaleY, click.is_positive, ratio);
  if (cursor) drawCross(cursor.x * scaleX, cursor.y * scaleY, ratio);
  const strokes = [...pending.filter((command) => command.do === "brush"), ...(drag?.stroke ? [drag] : [])];
  for (const stroke of strokes) drawStroke(stroke, scaleX, scaleY);
  if (tool === "brush" && brushAt) drawRing(brushAt.x * scaleX, brushAt.y * scaleY, brushRadius() * scaleX, ratio);
  ink.restore();
}

const brushRadius = () => brush * Math.max(view.width, view.height);

function boxBetween(a, b) {
  return { x0: Math.min(a.x, b.x), y0: Math.min(a.y, b.y), x1: Math.max(a.x, b.x), y1: Math.max(a.y, b.y) };
}

function fit() {
  const area = stage.getBoundingClientRect();
  canvas.width = Math.round(area.width * devicePixelRatio);
  canvas.height = Math.round(area.height * devicePixelRatio);
  draw();
}

function pick(name) {
  tool = name;
  for (const button of element.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-checked", String(button.dataset.tool === name));
  }
  // A finger may still scroll the page past the frame, except where it draws.
  pickTouch();
  draw();
}

function pickTouch() {
  canvas.style.touchAction = ["box", "brush"].includes(tool) || closer.scale > 1 ? "none" : "pan-y";
}

canvas.addEventListener("contextmenu", (event) => event.preventDefault());

canvas.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "touch") fingers.set(event.pointerId, shares(event));
  if (fingers.size > 1) drag = null;
  if (!view || drag || fingers.size > 1 || ![LEFT, MIDDLE, RIGHT].includes(event.button)) return;
  stopPlaying();
  canvas.setPointerCapture(event.pointerId);
  if (event.button === MIDDLE || isSpaceDown) {
    if (closer.scale > 1) drag = { pan: shares(event) };
    return;
  }
  const at = framePosition(event);
  cursor = null;
  drag = {
    frame: shown, from: at, to: at, startX: event.clientX, startY: event.clientY, isBox: false,
    // With Ctrl a Mac makes a right click of it, but still says left.
    isNegative: event.button === RIGHT || event.shiftKey || event.ctrlKey || tool === "negative",
    mayBox: tool === "box" || (event.pointerType === "mouse" && tool !== "brush"),
    // A finger moves an enlarged picture.
    mayPan: event.pointerType === "touch" && closer.scale > 1 && ["positive", "negative"].includes(tool),
  };
  if (tool === "brush") {
    drag.stroke = [at];
    drag.radius = brushRadius();
    draw();
  }
});

canvas.addEventListener("pointermove", (event) => {
  if (fingers.size > 1 && fingers.has(event.pointerId)) return pinch(event);
  if (tool === "brush" && view) {
    brushAt = framePosition(event);
    if (!drag) draw();
  }
  if (!drag) return;
  if (drag.pan) return pan(event);
  drag.to = framePosition(event);
  const moved = Math.hypot(event.clientX - drag.startX, event.clientY - drag.startY) > DRAG_PIXELS;
  if (drag.mayPan && moved) drag = { pan: shares(event) };
  else if (drag.stroke) drag.stroke.push(drag.to);
  else drag.isBox ||= drag.mayBox && moved;
  draw();
});

canvas.addEventListener("pointerleave", () => {
  brushAt = null;
  draw();
});

canvas.addEventListener("pointercancel", (event) => {
  fingers.delete(event.pointerId);
  drag = null;
  draw();
});

// A long stroke is sent with fewer points.
function thinned(stroke) {
  const every = Math.ceil(stroke.length / MOST_STROKE_POINTS);
  return stroke.filter((_, index) => index % every === 0 || index === stroke.length - 1);
}

canvas.addEventListener("pointerup", (event) => {
  fingers.delete(event.pointerId);
  if (!drag) return;
  const { frame, from, to, isBox, isNegative, stroke, radius, pan: isPan } = drag;
  drag = null;
  if (isPan) return;
  if (stroke) {
    const points = thinned(stroke).map((at) => [at.x, at.y]);
    return act({ do: "brush", frame, points, radius, is_positive: !isNegative });
  }
  const rectangle = boxBetween(from, to);
  if (isBox && rectangle.x1 > rectangle.x0 && rectangle.y1 > rectangle.y0) act({ do: "box", frame, ...rectangle });
  else addClick(from, !isNegative, frame);
});

canvas.addEventListener("blur", () => {
  cursor = null;
  draw();
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

addEventListener("keyup", (event) => {
  if (event.key === " ") isSpaceDown = false;
});

canvas.addEventListener("keydown", (event) => {
  if (!view) return;
  isSpaceDown ||= event.key === " ";
  if (ARROWS[event.key]) moveCursor(...ARROWS[event.key]);
  else if ((event.key === "Enter" || event.key === " ") && cursor) {
    addClick(cursor, !(event.shiftKey || tool === "negative"));
  } else if (event.key !== " ") return;
  event.preventDefault();
});

element.addEventListener("keydown", (event) => {
  if (!view || details.contains(event.target)) return;
  const shortcut = shortcutOf(event);
  if (!shortcut) return;
  shortcut();
  event.preventDefault();
});

function shortcutOf({ key, ctrlKey, metaKey, shiftKey }) {
  if (ctrlKey || metaKey) {
    const letter = key.toLowerCase();
    if (letter === "y" || (letter === "z" && shiftKey)) return ACTIONS.redo;
    return letter === "z" ? ACTIONS.undo : null;
  }
  const object = bench.objects[Number(key) - 1];
  if (object) return () => act({ do: "pick", object: object.number });
  return {
    Backspace: ACTIONS.undo, Delete: ACTIONS.clear, n: ACTIONS.next, N: ACTIONS.next,
    ",": () => goTo(shown - 1), ".": () => goTo(shown + 1),
    "+": ZOOMS.closer, "-": ZOOMS.farther, 0: ZOOMS.whole,
    "[": () => resizeBrush(0.8), "]": () => resizeBrush(1.25),
  }[key];
}

function moveCursor(right, down) {
  const step = Math.max(view.width, view.height) / 64 / closer.scale;
  const from = cursor ?? {
    x: ((0.5 - closer.x) / closer.scale) * view.width, y: ((0.5 - closer.y) / closer.scale) * view.height,
  };
  cursor = { x: inFrame(from.x + right * step, view.width), y: inFrame(from.y + down * step, view.height) };
  draw();
}

function resizeBrush(factor) {
  brush = within(brush * factor, 0.004, 0.25);
  draw();
}

const ACTIONS = {
  ...ZOOMS,
  undo: () => act({ do: "undo" }),
  redo: () => act({ do: "redo" }),
  clear: () => act({ do: "clear", frame: shown }),
  absent: () => act({ do: "absent", frame: shown }),
  add: () => act({ do: "add" }),
  remove() {
    act({ do: "remove", object: bench.picked });
    toggleDetails(false);
  },
  details: () => toggleDetails(),
  next() {
    stopPlaying();
    ask({ seek: true });
  },
  play: () => (playing === null ? startPlaying() : stopPlaying()),
  follow() {
    stopPlaying();
    if (isFollowing) {
      trigger("stop");
      return;
    }
    isFollowing = true;
    cameFrom = shown;
    told = "Following…";
    render();
    trigger("play");
  },
  help() {
    const help = element.querySelector(".dm-help");
    help.hidden = !help.hidden;
    element.querySelector('[data-action="help"]').setAttribute("aria-expanded", String(!help.hidden));
  },
};

for (const event of ["pointerdown", "focusin"]) {
  element.addEventListener(event, () => element.querySelector(".dm-canvas").classList.add("dm-touched"), { once: true });
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action], button[data-tool]");
  if (!button) return;
  if (button.dataset.tool) pick(button.dataset.tool);
  else if (view) ACTIONS[button.dataset.action]();
});

stage.addEventListener("dragover", (event) => event.preventDefault());
stage.addEventListener("drop", (event) => {
  event.preventDefault();
  const input = document.querySelector('.dm-source input[type="file"]');
  if (!input || !event.dataTransfer.files.length) return;
  input.files = event.dataTransfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});

base.addEventListener("load", draw);
new ResizeObserver(fit).observe(stage);
watch("value", sync);
pick("positive");
sync();
