// The states of a text in a plane; of the selected one, the predicted cloud and the next state.

const FRAME = { width: 480, height: 340, left: 52, right: 470, top: 8, bottom: 300 };
const LONGEST = 14; // letters of a word beside its state
const REGIONS = [0.9, 0.5]; // shares of a Gaussian cloud inside its ellipses

class Plane {
  constructor(frame, pick) {
    this.frame = frame;
    frame.setAttribute("viewBox", `0 0 ${FRAME.width} ${FRAME.height}`);
    frame.addEventListener("click", (event) => {
      const at = event.target.dataset.at;
      if (at !== undefined) pick(Number(at));
    });
  }

  // All states, coloured by a quantity.
  draw(data, tokens, values, quantity) {
    this.data = data;
    this.tokens = tokens;
    this.frame.replaceChildren();
    this.frame.parentElement.hidden = !data;
    if (!data) return;
    const points = [...data.states, ...data.means].filter((point) => !point.includes(null));
    this.x = axis(points.map((point) => point[0]), FRAME.left, FRAME.right);
    this.y = axis(points.map((point) => point[1]), FRAME.bottom, FRAME.top);
    this.dots = data.states.map((point, at) => {
      const dot = this.mark("circle", point, { r: 4, class: "dot", "data-at": at });
      dot.append(svg("title", {}, `${tokens[at]}: ${written(values?.[at])} ${quantity?.unit ?? ""}`));
      if (quantity) colour(dot, values?.[at], quantity);
      return dot;
    });
    this.selection = svg("g", { class: "selection" });
    const trail = data.states.map((point) => this.place(point).join(" ")).join("L");
    const inside = svg("svg", {
      x: FRAME.left, y: FRAME.top, width: FRAME.right - FRAME.left, height: FRAME.bottom - FRAME.top,
      viewBox: `${FRAME.left} ${FRAME.top} ${FRAME.right - FRAME.left} ${FRAME.bottom - FRAME.top}`,
    }, svg("path", { d: `M${trail}`, class: "trail" }), ...this.dots, this.selection);
    this.frame.append(...this.x.ticks(false), ...this.y.ticks(true), ...labels(data.axes), inside);
  }

  // The selected state with its prediction; `marked` says of each token whether it is in the brush.
  select(at, marked) {
    if (!this.data) return "";
    this.dots.forEach((dot, k) => dot.classList.toggle("marked", marked(k)));
    const [state, mean, covariance] = ["states", "means", "covariances"].map((part) => this.data[part][at]);
    const next = this.data.states[at + 1];
    if (!state) {
      this.selection.replaceChildren();
      return "The plane has no state of this token.";
    }
    const drawn = REGIONS.map((share) => svg("path", { d: this.ellipse(mean, covariance, share), class: "cloud" }));
    drawn.push(this.line(state, mean, "step"));
    if (next) {
      drawn.push(this.line(mean, next, "error"), this.mark("circle", next, { r: 6, class: "next" }));
      drawn.push(this.word(next, this.tokens[at + 1], 17));
    }
    drawn.push(this.mark("circle", mean, { r: 3.5, class: "mean" }), this.mark("circle", state, { r: 6, class: "now" }));
    drawn.push(this.word(state, this.tokens[at], -8));
    this.selection.replaceChildren(...drawn);
    return next ? verdict(distance(next, mean, covariance)) : "The text ends here.";
  }

  place([x, y]) {
    return [this.x.at(x).toFixed(1), this.y.at(y).toFixed(1)];
  }

  mark(name, point, attributes) {
    const [cx, cy] = this.place(point);
    return svg(name, { cx, cy, ...attributes });
  }

  line(from, to, name) {
    return svg("path", { d: `M${this.place(from).join(" ")}L${this.place(to).join(" ")}`, class: name });
  }

  word(point, token, below) {
    const [x, y] = this.place(point).map(Number);
    const [side, anchor] = x > 0.75 * FRAME.width ? [-6, "end"] : [6, "start"];
    const short = token.length > LONGEST ? `${token.slice(0, LONGEST)}…` : token;
    return svg("text", { x: x + side, y: y + below, "text-anchor": anchor }, short);
  }

  // The ellipse that contains a share of a Gaussian: by the Cholesky factor of the covariance.
  ellipse(mean, [xx, xy, yy], share) {
    const radius = Math.sqrt(-2 * Math.log(1 - share));
    const a = Math.sqrt(Math.max(xx, 0));
    const b = a > 0 ? xy / a : 0;
    const c = Math.sqrt(Math.max(yy - b * b, 0));
    const points = Array.from({ length: 48 }, (_, k) => {
      const [u, v] = [radius * Math.cos((k * Math.PI) / 24), radius * Math.sin((k * Math.PI) / 24)];
      return this.place([mean[0] + a * u, mean[1] + b * u + c * v]).join(" ");
    });
    return `M${points.join("L")}Z`;
  }
}

// A linear scale from data to the frame, with round ticks.
function axis(values, start, end) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = 0.06 * (high - low) || 1;
  const at = (value) => start + ((value - low + pad) / (high - low + 2 * pad)) * (end - start);
  const rough = (high - low || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((each) => each >= rough);
  const round = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) round.push(Number((k * step).toPrecision(6)));
  const ticks = (up) => round.flatMap((value) => {
    const place = at(value).toFixed(1);
    return up
      ? [svg("path", { d: `M${FRAME.left} ${place}H${FRAME.right}`, class: "grid" }),
         svg("text", { x: FRAME.left - 5, y: place, dy: "0.32em", "text-anchor": "end", class: "tick" }, value)]
      : [svg("path", { d: `M${place} ${FRAME.top}V${FRAME.bottom}`, class: "grid" }),
         svg("text", { x: place, y: FRAME.bottom + 14, "text-anchor": "middle", class: "tick" }, value)];
  });
  return { at, ticks };
}

function labels([across, up]) {
  const middle = (FRAME.top + FRAME.bottom) / 2;
  return [
    svg("text", { x: (FRAME.left + FRAME.right) / 2, y: FRAME.height - 8, "text-anchor": "middle", class: "axis" }, across),
    svg("text", { transform: `translate(15 ${middle}) rotate(-90)`, "text-anchor": "middle", class: "axis" }, up),
  ];
}

// The squared Mahalanobis distance of a point in the cloud.
function distance([x, y], [mx, my], [xx, xy, yy]) {
  const [u, v] = [x - mx, y - my];
  if (!(xx > 0)) return (v * v) / yy; // drawn against time
  const determinant = xx * yy - xy * xy;
  return (yy * u * u - 2 * xy * u * v + xx * v * v) / determinant;
}

function verdict(squared) {
  const inside = REGIONS.filter((share) => squared <= -2 * Math.log(1 - share));
  const smallest = inside[inside.length - 1];
  return smallest
    ? `The next state is inside the ${100 * smallest}% region.`
    : `The next state is outside the ${100 * REGIONS[0]}% region.`;
}
