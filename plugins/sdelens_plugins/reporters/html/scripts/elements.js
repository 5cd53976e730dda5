// Elements, numbers and colours. The views are a scatter plot, a grid and sliders: these few lines of our
// own are less to maintain than a copy of a plotting library, which would add its axes but neither the
// keyboard nor the links between the views.

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function html(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function clamped(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function written(value, digits = 3) {
  return value === null || value === undefined ? "no value" : String(Number(value.toPrecision(digits)));
}

// The colour of a value, as in the coloured tokens without scripts.
function colour(element, value, quantity) {
  const known = value !== null && value !== undefined;
  const [low, high] = quantity.ends;
  const below = known && quantity.signed && value < 0;
  const share = quantity.signed ? Math.abs(value) / high : (value - low) / (high - low);
  for (const kind of ["above", "below", "none"]) element.classList.remove(kind);
  element.classList.add(known ? (below ? "below" : "above") : "none");
  element.style.setProperty("--v", known && high > low ? share.toFixed(3) : 0);
}
