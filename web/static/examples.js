for (const card of element.querySelectorAll("button[data-name]")) {
  card.addEventListener("click", () => {
    for (const other of element.querySelectorAll("button[data-name]")) {
      other.setAttribute("aria-pressed", String(other === card));
    }
    props.value = card.dataset.name;
    trigger("select");
  });
}
