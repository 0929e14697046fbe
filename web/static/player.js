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
const speed = find(".dm-speed");
const announcement = find("[role=status]");
const SECONDS_BETWEEN_ANNOUNCEMENTS = 15;
const BADGES = { source: "Source", preview: "Preview", result: "Result", example: "Made beforehand" };
const STRIP_HEIGHT = 44;

let view = null;
let frames = [];
let before = [];
let shown = -1;
let isPlaying = !matchMedia("(prefers-reduced-motion: reduce)").matches;
let start = performance.now();
let version = 0;
let announcedAt = 0;
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
  if (stageChanged) {
    wipe.value = 500;
    if (["result", "preview"].includes(view.stage)) bringIntoSight();
  }
  bar.dataset.runs = view.progress !== null;
  bar.setAttribute("aria-valuenow", Math.round(100 * (view.progress ?? 0)));
  bar.firstElementChild.style.width = `${100 * (view.progress ?? 0)}%`;
  play.disabled = false;
  slider.max = frames.length - 1;
  announce(stageChanged);
  tellTheTab();
  drawStrip();
  shown = -1;
}

// A sighted visitor sees the caption change several times a second; who listens hears it now and then.
function announce(stageChanged) {
  const isDue = performance.now() - announcedAt > 1000 * SECONDS_BETWEEN_ANNOUNCEMENTS;
  if (view.progress !== null && !stageChanged && !isDue) return;
  announcedAt = performance.now();
  announcement.textContent = view.caption;
}

// Who waits in another tab sees there how far it is; nobody leaves a running edit by mistake.
function tellTheTab() {
  const words = { preview: `${Math.round(100 * (view.progress ?? 0))} %`, result: view.is_problem ? "▲" : "✓" }[view.stage];
  document.title = words ? `${words} · DreamMotion` : "DreamMotion";
}

function askBeforeLeaving(event) {
  if (element.isConnected && view?.progress != null) event.preventDefault();
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
  if (area.top < 0 || area.bottom > innerHeight) element.scrollIntoView({ behavior, block: "start" });
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
  return Math.floor((Math.max(0, now - start) / 1000) * rate()) % frames.length;
}

const rate = () => view.fps * Number(speed.value);

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
  if (value && view) start = performance.now() - (Number(slider.value) / rate()) * 1000;
}

function step(by) {
  setPlaying(false);
  slider.value = (Number(slider.value) + by + frames.length) % frames.length;
}

function fillScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else find(".dm-player").requestFullscreen?.();
}

const KEYS = { ",": () => step(-1), ".": () => step(1), f: fillScreen, k: () => setPlaying(!isPlaying) };
element.addEventListener("keydown", (event) => {
  if (!view || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

play.addEventListener("click", () => setPlaying(!isPlaying));
slider.addEventListener("input", () => setPlaying(false));
// By keyboard the line moves in twentieths, under the finger freely.
wipe.addEventListener("pointerdown", () => {
  wipe.step = 1;
});
wipe.addEventListener("keydown", () => {
  wipe.step = 50;
});
wipe.addEventListener("input", () => {
  shown = -1;
});
speed.addEventListener("change", () => setPlaying(isPlaying));
find(".dm-fullscreen").addEventListener("click", fillScreen);
find(".dm-fullscreen").hidden = !document.fullscreenEnabled;
addEventListener("beforeunload", askBeforeLeaving);
new ResizeObserver(drawStrip).observe(strip);
new ResizeObserver(fit).observe(canvas);
setPlaying(isPlaying);
watch("value", sync);
sync();
requestAnimationFrame(tick);
