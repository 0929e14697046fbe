// A click on a picture brings its result back into the player. The value is HTML, or a number on its way out.
const box = element.querySelector(".dm-run-list");

function sync() {
  if (typeof props.value === "string") box.innerHTML = props.value;
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-run]");
  if (!button) return;
  props.value = Number(button.dataset.run);
  trigger("select");
});
watch("value", sync);
sync();
