// The link leads into a group that has to be open to be of use.
element.addEventListener("click", async (event) => {
  if (!event.target.closest('a[href="#model-box"]')) return;
  event.preventDefault();
  if (!document.querySelector("#model")?.offsetParent) document.querySelector("#clip-settings > button").click();
  await new Promise((resolve) => setTimeout(resolve, 60));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  document.querySelector("#model-box")?.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
});
element.addEventListener("keydown", (event) => {
  if (event.key === "Escape") element.querySelector("details").open = false;
});
