// The comparison: one large picture cut by a slider, and a strip of held-out photos to choose from.
"use strict";
(() => {
  const root = document.getElementById("compare");
  if (!root) return;
  const views = JSON.parse(document.getElementById("compare-data").textContent);
  const find = (selector) => root.querySelector(selector);
  const stage = find(".stage"), slider = find("input"), strip = find(".strip");
  const choices = [...root.querySelectorAll("[data-role]")];
  let current = 0, role = "render";

  const cut = () => stage.style.setProperty("--cut", slider.value + "%");
  function show() {
    const view = views[current];
    if (!view[role]) role = "render";
    find(".left").src = view.photo;
    find(".right").src = view[role];
    find(".left").alt = "Photo " + view.name;
    find(".right").alt = (role === "render" ? "Render of " : "Difference at ") + view.name;
    find(".tag.other").textContent = role === "render" ? "Render" : "Difference";
    find(".push").textContent = view.caption;
    stage.style.aspectRatio = view.size.join(" / ");
    stage.style.maxWidth = `calc(82vh * ${view.size[0] / view.size[1]})`;
    for (const choice of choices) {
      choice.disabled = !view[choice.dataset.role];
      choice.setAttribute("aria-pressed", String(choice.dataset.role === role));
    }
    [...strip.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === current)));
  }
  views.forEach((view, i) => {
    const button = document.createElement("button"), image = new Image();
    image.src = view.photo;
    image.alt = "";
    button.append(image, view.short);
    button.title = view.caption;
    button.type = "button";
    button.addEventListener("click", () => { current = i; show(); });
    strip.append(button);
  });
  strip.hidden = views.length < 2;
  for (const choice of choices) choice.addEventListener("click", () => { role = choice.dataset.role; show(); });
  slider.addEventListener("input", cut);
  cut();
  show();
})();
