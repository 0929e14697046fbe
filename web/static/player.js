// Frames are swapped all at once and the clock is never restarted: the loop keeps its phase while its
// content gets better, without flicker.
const find = (selector) => element.querySelector(selector);
const canvas = find(".dm-stage canvas");
const ink = canvas.getContext("2d");
const strip = find(".dm-strip canvas");
const wipe = find(".dm-wipe");
const slider = find(".dm-frame");
const play = find(".dm-play");
const badge = find(".dm-badge");
const bar = find(".dm-progress");
const BADGES = { source: "Source", preview: "Preview", result: "Result" };
const STRIP_HEIGHT = 44;

let view = null;
let frames = [];
let before = [];
let shown = -1;
let isPlaying = !matchMedia("(prefers-reduced-motion: reduce)").matches;
let start = performance.now();
let version = 0;
const pictures = new Map();

function decode(uri) {
  if (!pictures.has(uri)) {
    pictures.set(uri, fetch(uri).then((answer) => answer.blob()).then(createImageBitmap));
  }
  return pictures.get(uri);
}

function forgetOthers(used) {
  for (const [uri, picture] of pictures) {
    if (used.has(uri)) continue;
    pictures.delete(uri);
    picture.then((bitmap) => bitmap.close());
  }
}

async function sync() {
  const next = props.value;
  if (!next?.frames?.length) return;
  const mine = ++version;
  const [newFrames, newBefore] = await Promise.all([
    Promise.all(next.frames.map(decode)),
    Promise.all(next.before.map(decode)),
  ]);
  if (mine !== version) return;
  const stageChanged = next.stage !== view?.stage;
  view = next;
  frames = newFrames;
  before = newBefore;
  forgetOthers(new Set([...next.frames, ...next.before]));
  arrange(stageChanged);
}

function arrange(stageChanged) {
  find(".dm-stage").style.setProperty("--dm-aspect", view.width / view.height);
  find(".dm-stage").classList.add("dm-filled");
  fit();
  element.dataset.stage = view.stage;
  badge.hidden = false;
  badge.textContent = view.badge ?? BADGES[view.stage];
  find(".dm-note").textContent = view.caption;
  find(".dm-note").classList.toggle("dm-problem", view.is_problem);
  const compares = before.length > 0;
  for (const part of [wipe, find(".dm-side-left"), find(".dm-side-right")]) part.hidden = !compares;
  if (stageChanged) wipe.value = 500;
  bar.hidden = view.progress === null;
  bar.firstElementChild.style.width = `${100 * (view.progress ?? 0)}%`;
  find(".dm-transport").hidden = false;
  slider.max = frames.length - 1;
  if (stageChanged && view.progress !== null) bringIntoSight();
  drawStrip();
  shown = -1;
}

// A small clip is enlarged here, because a browser enlarges a canvas less smoothly than what is drawn on it.
function fit() {
  if (!frames.length) return;
  const [{ width, height }] = frames;
  const shownWidth = Math.max(width, Math.round(canvas.clientWidth * devicePixelRatio));
  const shownHeight = Math.round((shownWidth * height) / width);
  if (canvas.width === shownWidth && canvas.height === shownHeight) return;
  canvas.width = shownWidth;
  canvas.height = shownHeight;
  ink.imageSmoothingQuality = "high";
  shown = -1;
}

function bringIntoSight() {
  const area = element.getBoundingClientRect();
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  if (area.top < 0 || area.top > innerHeight * 0.6) element.scrollIntoView({ behavior, block: "start" });
}

function drawStrip() {
  const width = strip.clientWidth * devicePixelRatio;
  if (!width || !frames.length) return;
  strip.width = width;
  strip.height = STRIP_HEIGHT * devicePixelRatio;
  const context = strip.getContext("2d");
  const slot = width / frames.length;
  frames.forEach((bitmap, index) => {
    const scale = Math.max(slot / bitmap.width, strip.height / bitmap.height);
    const cutWidth = slot / scale;
    const cutHeight = strip.height / scale;
    context.drawImage(bitmap, (bitmap.width - cutWidth) / 2, (bitmap.height - cutHeight) / 2,
      cutWidth, cutHeight, index * slot, 0, slot, strip.height);
  });
}

function draw(index) {
  const { width, height } = canvas;
  ink.drawImage(frames[index], 0, 0, width, height);
  const edge = Math.round((wipe.value / 1000) * width);
  if (before.length && edge > 0) {
    const picture = before[index];
    const cut = (edge / width) * picture.width;
    ink.drawImage(picture, 0, 0, cut, picture.height, 0, 0, edge, height);
  }
  find(".dm-strip").style.setProperty("--dm-at", `${((index + 0.5) / frames.length) * 100}%`);
  find(".dm-count").textContent = `${index + 1} / ${frames.length}`;
  slider.value = index;
  slider.setAttribute("aria-valuetext", `frame ${index + 1} of ${frames.length}`);
}

function currentIndex(now) {
  if (!isPlaying) return Math.min(Number(slider.value), frames.length - 1);
  return Math.floor((Math.max(0, now - start) / 1000) * view.fps) % frames.length;
}

function tick(now) {
  if (!element.isConnected) {
    forgetOthers(new Set());
    return;
  }
  if (frames.length) {
    const index = currentIndex(now);
    if (index !== shown) {
      draw(index);
      shown = index;
    }
  }
  requestAnimationFrame(tick);
}

function setPlaying(value) {
  isPlaying = value;
  play.textContent = value ? "❚❚" : "▶";
  play.setAttribute("aria-label", value ? "Pause" : "Play");
  if (value && view) start = performance.now() - (Number(slider.value) / view.fps) * 1000;
}

play.addEventListener("click", () => setPlaying(!isPlaying));
slider.addEventListener("input", () => setPlaying(false));
wipe.addEventListener("input", () => {
  shown = -1;
});
new ResizeObserver(drawStrip).observe(strip);
new ResizeObserver(fit).observe(canvas);
setPlaying(isPlaying);
watch("value", sync);
sync();
requestAnimationFrame(tick);
