// The objects as chips; the details of the one that clicks are about open on demand.
const chips = element.querySelector(".dm-chips");
const details = element.querySelector(".dm-details");
const detailsButton = element.querySelector('[data-action="details"]');
const scope = element.querySelector(".dm-scope");

const picked = () => bench.objects.find((object) => object.number === bench.picked);

function showObjects() {
  const hadFocus = chips.contains(document.activeElement);
  chips.replaceChildren(...bench.objects.map(chip));
  chips.scrollLeft = chips.querySelector('[aria-checked="true"]').offsetLeft - chips.offsetLeft - chips.clientWidth / 3;
  if (hadFocus) chips.querySelector('[aria-checked="true"]').focus();
  showScope();
  if (!details.contains(document.activeElement)) fillDetails();
}

function chip(object) {
  const button = document.createElement("button");
  const isPicked = object.number === bench.picked;
  button.type = "button";
  button.className = "dm-chip";
  button.dataset.object = object.number;
  button.tabIndex = isPicked ? 0 : -1;
  button.setAttribute("role", "radio");
  button.setAttribute("aria-checked", String(isPicked));
  button.style.setProperty("--dm-colour", object.colour);
  button.classList.toggle("dm-left-alone", !object.isEdited);
  button.title = object.isEdited ? object.name : `${object.name}: the edit leaves it alone`;
  button.textContent = object.name;
  button.addEventListener("click", () => act({ do: "pick", object: object.number }));
  return button;
}

function showScope() {
  const selected = bench.objects.filter((object) => object.frames.length);
  const edited = selected.filter((object) => object.isEdited);
  scope.hidden = selected.length < 2 && edited.length === selected.length;
  const names = edited.map((object) => object.name).join(", ");
  const all = { 1: "the object", 2: "both objects" }[selected.length] ?? `all ${selected.length} objects`;
  scope.textContent = `The edit changes ${edited.length === selected.length ? all : names || "none of them"}. ⋯ beside a name chooses.`;
}

function fillDetails() {
  const object = picked();
  details.elements.name.value = object.name;
  details.elements.colour.value = object.colour;
  details.elements.value.checked = object.isEdited;
}

function toggleDetails(isOpen = details.hidden) {
  details.hidden = !isOpen;
  detailsButton.setAttribute("aria-expanded", String(isOpen));
  if (isOpen) {
    fillDetails();
    details.elements.name.select();
  } else if (details.contains(document.activeElement)) detailsButton.focus();
}

details.addEventListener("change", (event) => {
  const { number } = picked();
  const { name, colour, value } = details.elements;
  if (event.target === value) act({ do: "choose", object: number, value: value.checked });
  else act({ do: "style", object: number, name: name.value, colour: colour.value });
});
details.addEventListener("submit", (event) => {
  event.preventDefault();
  toggleDetails(false);
});
details.addEventListener("keydown", (event) => {
  if (event.key === "Escape") toggleDetails(false);
});
chips.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const numbers = bench.objects.map((object) => object.number);
  const place = (numbers.indexOf(bench.picked) + step + numbers.length) % numbers.length;
  act({ do: "pick", object: numbers[place] });
});
