const list = element.querySelector(".dm-choices");
const picked = element.querySelector(".dm-picked");
const part = (name) => picked.querySelector(`[data-part="${name}"]`);
const bar = picked.querySelector(".dm-progress");
let view = null;
let chosen = null;

function row(choice) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), {
    type: "radio",
    name: `dm-${view.kind}`,
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
  // What is to be pressed stands below the row that was chosen; moving it for nothing would take the focus.
  const row = list.querySelector(`input[value="${CSS.escape(chosen)}"]`).closest("label");
  if (row.nextElementSibling !== picked) row.after(picked);
}

function showProgress() {
  bar.hidden = view.progress === null;
  part("stop").hidden = view.progress === null;
  const percent = Math.round(100 * (view.progress ?? 0));
  bar.setAttribute("aria-valuenow", percent);
  bar.firstElementChild.style.width = `${percent}%`;
}

function sync() {
  // A name on its way to the server is no view.
  if (!props.value?.choices) return;
  const next = JSON.stringify([props.value.choices, props.value.chosen, props.value.is_busy]);
  const isNew = view === null || next !== JSON.stringify([view.choices, view.chosen, view.is_busy]);
  view = props.value;
  // While a download goes on, what the visitor has under the finger stays in its place.
  if (isNew) {
    chosen = view.chosen;
    list.replaceChildren(...view.choices.map(row));
  }
  part("note").textContent = view.note;
  part("note").classList.toggle("dm-problem", view.is_problem);
  element.toggleAttribute("aria-busy", view.is_busy);
  showProgress();
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

part("stop").addEventListener("click", () => trigger("stop"));

watch("value", sync);
sync();
