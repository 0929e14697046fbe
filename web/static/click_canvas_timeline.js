// One cell for each frame: how far its mask can be believed. Height and pattern say the same as the colour.
const cells = element.querySelector(".dm-cells");
const slider = element.querySelector(".dm-frame");
const playButton = element.querySelector('[data-action="play"]');
const words = element.querySelector(".dm-words");
let hovered = null;
let playing = null;

function buildTimeline() {
  const cuts = new Set(view.cuts);
  cells.replaceChildren(...view.frames.map((uri, index) => {
    const cell = document.createElement("i");
    cell.style.backgroundImage = `url(${uri})`;
    cell.classList.toggle("dm-cut", cuts.has(index));
    return cell;
  }));
  slider.max = view.frames.length - 1;
}

function showTimeline() {
  const count = view.frames.length;
  bench.cells.forEach(({ state }, index) => {
    const cell = cells.children[index];
    cell.dataset.state = state;
    cell.classList.toggle("dm-now", index === shown);
    const marks = bench.objects.filter((object) => object.frames.includes(index)).map((object) => object.colour);
    cell.style.setProperty("--dm-mark", marks.length ? `linear-gradient(90deg, ${stripes(marks)})` : "none");
  });
  slider.value = shown;
  slider.setAttribute("aria-valuetext", `frame ${shown + 1} of ${count}: ${bench.cells[shown].words}`);
  element.querySelector(".dm-count").textContent = `${shown + 1} / ${count}`;
  const doubtful = bench.cells.filter(({ state }) => state === "doubtful" || state === "bad").length;
  const next = element.querySelector('[data-action="next"]');
  next.hidden = !doubtful;
  next.textContent = doubtful === 1 ? "Show the doubtful frame ›" : `Next of ${doubtful} doubtful frames ›`;
  showWords();
}

const stripes = (colours) =>
  colours.map((colour, place) =>
    `${colour} ${(100 * place) / colours.length}% ${(100 * (place + 1)) / colours.length}%`).join(", ");

function showWords() {
  const index = hovered ?? shown;
  const { state, words: text } = bench.cells[index];
  words.dataset.state = state;
  words.textContent = `Frame ${index + 1}${text ? `: ${text}` : ""}`;
}

function startPlaying() {
  const absent = view.frames.map((_, index) => index).filter((index) => !overlays.has(index));
  if (absent.length) ask({ overlays: absent.slice(0, 32) });
  playing = setInterval(() => {
    const next = (shown + 1) % view.frames.length;
    if (!overlays.has(next)) {
      if (!isSending) ask({ overlays: [next] });
      return;
    }
    shown = next;
    render();
  }, 1000 / view.fps);
  playButton.textContent = "❚❚";
  playButton.setAttribute("aria-label", "Pause");
}

function stopPlaying() {
  if (playing === null) return;
  clearInterval(playing);
  playing = null;
  playButton.textContent = "▶";
  playButton.setAttribute("aria-label", "Play");
  if (view) ask();
}

slider.addEventListener("input", () => {
  stopPlaying();
  goTo(Number(slider.value));
});
slider.addEventListener("pointermove", (event) => {
  if (!view || event.pointerType !== "mouse") return;
  const area = cells.getBoundingClientRect();
  const place = Math.floor(((event.clientX - area.left) / area.width) * view.frames.length);
  hovered = Math.min(view.frames.length - 1, Math.max(0, place));
  showWords();
});
slider.addEventListener("pointerleave", () => {
  hovered = null;
  if (view) showWords();
});
