// The script owns the clicks; the server only answers with a mask. So no answer can undo a fast click.
const base = element.querySelector(".dm-base");
const overlay = element.querySelector(".dm-overlay");
const note = element.querySelector(".dm-note");
const stage = element.querySelector(".dm-stage");
const DRAG_PIXELS = 5;
const GREETING = "Click the object that you want to change.";

let view = null;
let clicks = [];
let box = null;
let history = [];
let tool = "positive";
let drag = null;
let cursor = null;
let sending = false;
let isDirty = false;

const inFrame = (value, size) => Math.min(size - 1e-3, Math.max(0, value));

function framePosition(event) {
  const area = base.getBoundingClientRect();
  return {
    x: inFrame(((event.clientX - area.left) / area.width) * view.width, view.width),
    y: inFrame(((event.clientY - area.top) / area.height) * view.height, view.height),
  };
}

function change(next) {
  history.push({ clicks, box });
  ({ clicks, box } = { clicks, box, ...next });
  draw();
  send();
}

const addClick = (at, isPositive) =>
  change({ clicks: [...clicks, { x: at.x, y: at.y, is_positive: isPositive }] });

function undo() {
  if (!history.length) return;
  ({ clicks, box } = history.pop());
  draw();
  send();
}

function clear() {
  if (clicks.length || box) change({ clicks: [], box: null });
}

async function send() {
  isDirty = true;
  if (sending) return;
  sending = true;
  try {
    while (isDirty) {
      isDirty = false;
      await ask();
    }
  } finally {
    sending = false;
  }
}

async function ask() {
  const { token, clip } = view;
  let answer;
  try {
    answer = await server.segment({ token, clip, selection: { frame_index: 0, clicks, box } });
  } catch {
    answer = undefined;
  }
  if (clip !== view.clip) return;
  showAnswer(answer ?? { error: "The server did not answer. Click again, or reload the page." });
}

function showAnswer(answer) {
  note.classList.toggle("dm-problem", Boolean(answer.error || answer.problem));
  if (answer.error) {
    note.textContent = answer.error;
    return;
  }
  if (answer.overlay) overlay.src = answer.overlay;
  else overlay.removeAttribute("src");
  element.dataset.share = answer.share;
  element.dataset.answered = clicks.length + (box ? 1 : 0);
  note.textContent = answer.problem ?? summary(answer.share);
}

function summary(share) {
  if (!clicks.length && !box) return GREETING;
  const percent = share < 0.01 ? "under 1" : Math.round(share * 100);
  return `${percent} % of the frame is selected. Not right? Add clicks, or mark what does not belong.`;
}

function draw() {
  const ratio = devicePixelRatio;
  ink.clearRect(0, 0, canvas.width, canvas.height);
  if (!view) return;
  const scaleX = canvas.width / view.width;
  const scaleY = canvas.height / view.height;
  if (view.hint && !clicks.length && !box) drawHint(view.hint[0] * scaleX, view.hint[1] * scaleY, ratio);
  const rectangle = drag?.isBox ? boxBetween(drag.from, drag.to) : box;
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
  const area = base.getBoundingClientRect();
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
  if (!view || drag) return;
  const at = framePosition(event);
  cursor = null;
  drag = {
    from: at, to: at, startX: event.clientX, startY: event.clientY, isBox: false,
    isNegative: event.button === 2 || event.shiftKey || tool === "negative",
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
  const { from, to, isBox, isNegative } = drag;
  drag = null;
  const rectangle = boxBetween(from, to);
  if (isBox && rectangle.x1 > rectangle.x0 && rectangle.y1 > rectangle.y0) change({ box: rectangle });
  else addClick(from, !isNegative);
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
  } else if (event.key === "Backspace" || ((event.ctrlKey || event.metaKey) && event.key === "z")) undo();
  else if (event.key === "Delete") clear();
  else return;
  event.preventDefault();
});

function moveCursor(right, down) {
  const step = Math.max(view.width, view.height) / 64;
  const from = cursor ?? { x: view.width / 2, y: view.height / 2 };
  cursor = { x: inFrame(from.x + right * step, view.width), y: inFrame(from.y + down * step, view.height) };
  draw();
}

for (const button of element.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => pick(button.dataset.tool));
}
element.querySelector('[data-action="undo"]').addEventListener("click", undo);
element.querySelector('[data-action="clear"]').addEventListener("click", clear);

stage.addEventListener("dragover", (event) => event.preventDefault());
stage.addEventListener("drop", (event) => {
  event.preventDefault();
  const input = document.querySelector('.dm-source input[type="file"]');
  if (!input || !event.dataTransfer.files.length) return;
  input.files = event.dataTransfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});

function sync() {
  if (!props.value?.image || props.value.clip === view?.clip && props.value.token === view?.token) return;
  view = props.value;
  clicks = [];
  box = null;
  history = [];
  drag = null;
  delete element.dataset.share;
  delete element.dataset.answered;
  stage.style.setProperty("--dm-aspect", view.width / view.height);
  stage.classList.add("dm-filled");
  base.src = view.image;
  overlay.removeAttribute("src");
  note.classList.remove("dm-problem");
  note.textContent = GREETING;
  draw();
}

base.addEventListener("load", fit);
new ResizeObserver(fit).observe(stage);
watch("value", sync);
pick("positive");
sync();
