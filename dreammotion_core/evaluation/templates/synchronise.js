function synchronise(root) {
  const strips = new WeakMap(), cut = document.createElement("canvas");
  let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches, last = 0, drawn = {};
  function strip(canvas) {
    if (!strips.has(canvas)) {
      const picture = new Image();
      picture.onload = () => { drawn = {}; };
      picture.src = canvas.dataset.strip;
      strips.set(canvas, picture);
    }
    return strips.get(canvas);
  }
  // A small clip is enlarged here, because a browser enlarges a canvas less smoothly than what is drawn on it.
  function draw(canvas, frame) {
    const picture = strip(canvas), count = Number(canvas.dataset.count), ink = canvas.getContext("2d");
    if (!picture.complete) return;
    const width = picture.naturalWidth, height = picture.naturalHeight / count;
    // Cut out first: enlarging mixes a frame with its neighbours in the strip.
    const row = Math.min(frame, count - 1) * height;
    cut.width = width;
    cut.height = height;
    cut.getContext("2d").drawImage(picture, 0, row, width, height, 0, 0, width, height);
    const shown = Math.max(width, Math.round(canvas.clientWidth * devicePixelRatio));
    if (canvas.width !== shown) {
      canvas.width = shown;
      canvas.height = Math.round((shown * height) / width);
    }
    ink.imageSmoothingQuality = "high";
    ink.drawImage(cut, 0, 0, canvas.width, canvas.height);
  }
  function advance(bar, now) {
    const slider = bar.querySelector("input"), length = Number(bar.dataset.length);
    if (playing && now - last >= Number(bar.dataset.period)) {
      last = now;
      slider.value = (Number(slider.value) + 1) % length;
    }
    const words = `frame ${Number(slider.value) + 1} of ${length}`, label = playing ? "Pause" : "Play";
    const output = bar.querySelector("output"), button = bar.querySelector("button");
    if (output.textContent !== words) output.textContent = words;
    if (button.textContent !== label) button.textContent = label;
    return Number(slider.value);
  }
  function tick(now) {
    if (!root.isConnected) return;
    requestAnimationFrame(tick);
    const bar = root.querySelector(".bar");
    if (!bar) return;
    const frame = advance(bar, now), canvases = [...root.querySelectorAll("canvas[data-strip]")];
    if (drawn.frame === frame && drawn.newest === canvases.at(-1)) return;
    drawn = { frame, newest: canvases.at(-1) };
    for (const canvas of canvases) draw(canvas, frame);
  }
  root.addEventListener("click", (event) => { if (event.target.closest(".bar button")) playing = !playing; });
  root.addEventListener("input", (event) => { if (event.target.closest(".bar")) playing = false; });
  requestAnimationFrame(tick);
}
