// Mouse, touch and keyboard become commands.
const DRAG_PIXELS = 5;
const [LEFT, RIGHT] = [0, 2];
let tool = "positive";
let drag = null;
let cursor = null;

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
  const scaleX = canvas.width / view.width;
  const scaleY = canvas.height / view.height;
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
}

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
  canvas.style.touchAction = name === "box" ? "none" : "pan-y";
}

canvas.addEventListener("contextmenu", (event) => event.preventDefault());

canvas.addEventListener("pointerdown", (event) => {
  if (!view || drag || ![LEFT, RIGHT].includes(event.button)) return;
  stopPlaying();
  const at = framePosition(event);
  cursor = null;
  drag = {
    frame: shown, from: at, to: at, startX: event.clientX, startY: event.clientY, isBox: false,
    // With Ctrl a Mac makes a right click of it, but still says left.
    isNegative: event.button === RIGHT || event.shiftKey || event.ctrlKey || tool === "negative",
    mayBox: tool === "box" || event.pointerType === "mouse",
  };
  canvas.setPointerCapture(event.pointerId);
});

canvas.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.to = framePosition(event);
  const moved = Math.hypot(event.clientX - drag.startX, event.clientY - drag.startY) > DRAG_PIXELS;
  drag.isBox ||= drag.mayBox && moved;
  draw();
});

canvas.addEventListener("pointercancel", () => {
  drag = null;
  draw();
});

canvas.addEventListener("pointerup", () => {
  if (!drag) return;
  const { frame, from, to, isBox, isNegative } = drag;
  drag = null;
  const rectangle = boxBetween(from, to);
  if (isBox && rectangle.x1 > rectangle.x0 && rectangle.y1 > rectangle.y0) act({ do: "box", frame, ...rectangle });
  else addClick(from, !isNegative, frame);
});

canvas.addEventListener("blur", () => {
  cursor = null;
  draw();
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener("keydown", (event) => {
  if (!view) return;
  if (ARROWS[event.key]) moveCursor(...ARROWS[event.key]);
  else if ((event.key === "Enter" || event.key === " ") && cursor) {
    addClick(cursor, !(event.shiftKey || tool === "negative"));
  } else return;
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
  }[key];
}

function moveCursor(right, down) {
  const step = Math.max(view.width, view.height) / 64;
  const from = cursor ?? { x: view.width / 2, y: view.height / 2 };
  cursor = { x: inFrame(from.x + right * step, view.width), y: inFrame(from.y + down * step, view.height) };
  draw();
}

const ACTIONS = {
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
