const list = element.querySelector(".dm-choices");
const part = (name) => element.querySelector(`[data-part="${name}"]`);
let view = null;
let chosen = null;

function row(choice) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), {
    type: "radio",
    name: "dm-segmenter",
    value: choice.name,
    checked: choice.name === chosen,
    disabled: view.is_busy,
  });
  label.append(input);
  for (const [kind, text] of Object.entries({ label: choice.label, facts: choice.facts, words: choice.words })) {
    const span = Object.assign(document.createElement("span"), { className: `dm-${kind}`, textContent: text });
    label.append(span);
  }
  label.dataset.state = choice.state;
  label.toggleAttribute("data-active", choice.name === view.active);
  return label;
}

function describe() {
  const choice = view.choices.find((each) => each.name === chosen);
  const isActive = choice.name === view.active;
  part("description").textContent = choice.description;
  part("advice").textContent = isActive ? "" : choice.advice;
  part("action").textContent = choice.action ?? "";
  part("action").hidden = isActive || !choice.action || view.is_busy;
}

function sync() {
  // A name on its way to the server is no view.
  if (!props.value?.choices) return;
  view = props.value;
  chosen = view.chosen;
  list.replaceChildren(...view.choices.map(row));
  part("note").textContent = view.note;
  part("note").classList.toggle("dm-problem", view.is_problem);
  element.toggleAttribute("aria-busy", view.is_busy);
  describe();
}

list.addEventListener("change", (event) => {
  chosen = event.target.value;
  part("note").textContent = "";
  describe();
});

part("action").addEventListener("click", () => {
  props.value = chosen;
  trigger("select");
});

watch("value", sync);
sync();
