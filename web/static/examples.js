// The open example is marked; the server marks it too, because one is open at the start and an upload opens none.
const cards = [...element.querySelectorAll("button[data-name]")];
const pictures = [...element.querySelectorAll("img")].map((image) => {
  return { image, moving: image.src, still: image.previousElementSibling.srcset };
});
const pause = element.querySelector(".dm-pause");

function mark(name) {
  for (const card of cards) card.setAttribute("aria-pressed", String(card.dataset.name === name));
}

for (const card of cards) {
  card.addEventListener("click", () => {
    mark(card.dataset.name);
    props.value = card.dataset.name;
    trigger("select");
  });
}
pause.addEventListener("click", () => {
  const rests = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(rests));
  pause.textContent = rests ? "▶" : "❚❚";
  for (const { image, moving, still } of pictures) image.src = rests ? still : moving;
});
watch("value", () => mark(props.value));
