// The sentence stands beside the button that was pressed, and the place where something has to be done is marked.
const line = element.querySelector(".dm-refusal");
const FIELDS = { canvas: "#canvas canvas", source: "#source-prompt textarea", target: "#target-prompt textarea" };

function sync() {
  const { text = "", at = "" } = props.value ?? {};
  line.textContent = text;
  for (const [name, selector] of Object.entries(FIELDS)) {
    const field = document.querySelector(selector);
    field?.toggleAttribute("data-refused", name === at);
    if (name === at) field?.focus();
  }
}

watch("value", sync);
sync();
