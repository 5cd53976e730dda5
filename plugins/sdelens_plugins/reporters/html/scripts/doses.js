// A slider that selects one dose of a series; without it, all of them are in the page.

for (const figure of document.querySelectorAll(".doses")) {
  const doses = [...figure.querySelectorAll(".dose")];
  const slider = figure.querySelector("input");
  const select = () => {
    const chosen = doses[Number(slider.value)];
    for (const dose of doses) dose.classList.toggle("selected", dose === chosen);
    const label = chosen.querySelector(".label").textContent;
    slider.setAttribute("aria-valuetext", label);
    figure.querySelector("output").textContent = label;
  };
  slider.addEventListener("input", select);
  slider.closest(".slider").hidden = false;
  figure.classList.add("live");
  select();
}
