const list = element.querySelector(".dm-suggestions");

function chip(text) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  button.addEventListener("click", () => {
    props.value = text;
    trigger("select");
  });
  return button;
}

function sync() {
  // A text is on its way to the field, and no list.
  if (typeof props.value === "string") return;
  const choices = props.value?.choices ?? [];
  list.hidden = !choices.length;
  list.replaceChildren(...choices.map(chip));
}

watch("value", sync);
sync();
