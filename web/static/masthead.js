// The link leads to a drawer, which has to be open to be of use.
element.addEventListener("click", (event) => {
  if (!event.target.closest('a[href="#model-box"]')) return;
  event.preventDefault();
  const box = document.querySelector("#model-box");
  if (!box.querySelector("#model")?.offsetParent) box.querySelector("button").click();
  box.scrollIntoView({ behavior: "smooth", block: "center" });
});
