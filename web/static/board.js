const board = element.querySelector(".dm-board");

// What a figure shows, with its name: two variants may have come out the same.
const shownBy = (figure) => `${figure.textContent} ${figure.querySelector("canvas").dataset.strip}`;

// Clips that are there already stay where they are, so that they play on while the board grows.
function keepClips(part) {
  const known = new Map([...board.querySelectorAll("figure:has([data-strip])")].map(
    (figure) => [shownBy(figure), figure]));
  for (const figure of part.querySelectorAll(".grid figure")) {
    const old = known.get(shownBy(figure));
    if (old) figure.replaceWith(old);
  }
}

function place(name, html) {
  const target = board.querySelector(`[data-part="${name}"]`);
  const part = document.createElement("div");
  part.innerHTML = html;
  if (name !== "grid") return target.replaceChildren(...part.childNodes);
  const frame = target.querySelector(".bar input")?.value;
  keepClips(part);
  target.replaceChildren(...part.childNodes);
  if (frame) target.querySelector(".bar input").value = frame;
}

function sync() {
  const view = props.value;
  board.hidden = !view?.grid;
  if (board.hidden) return board.querySelector('[data-part="grid"]').replaceChildren();
  for (const [name, html] of Object.entries(view)) place(name, html);
}

watch("value", sync);
sync();
synchronise(board);
