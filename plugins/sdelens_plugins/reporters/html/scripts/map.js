// A map of values by row (layer, or quantity) and position, with a brush.

class ValueMap {
  // `pick(row, at)` is called where a cell is chosen, `mark(brush)` where a rectangle is drawn.
  constructor(frame, names, pick, mark) {
    Object.assign(this, { frame, names });
    let from = null;
    frame.addEventListener("pointerdown", (event) => {
      from = this.cell(event);
      frame.setPointerCapture(event.pointerId);
      pick(...from);
      mark(null);
    });
    frame.addEventListener("pointermove", (event) => {
      const to = from && this.cell(event);
      if (to && (to[0] !== from[0] || to[1] !== from[1])) mark(rectangle(from, to));
    });
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => { from = null; });
  }

  draw(rows, count) {
    Object.assign(this, { rows, count });
    this.names.replaceChildren(...rows.map(({ label }) => html("li", { textContent: label, title: label })));
    this.frame.setAttribute("viewBox", `0 0 ${count} ${rows.length}`);
    this.frame.parentElement.style.setProperty("--rows", rows.length);
    this.brush = svg("rect", { class: "brush", width: 0, height: 0 });
    this.cursor = svg("rect", { class: "cursor", width: 1, height: 1 });
    const cells = rows.flatMap(({ values, quantity }, y) => (values ?? []).map((value, x) => {
      const cell = svg("rect", { x, y, width: 1, height: 1 });
      colour(cell, value, quantity);
      return cell;
    }));
    this.frame.replaceChildren(...cells, this.brush, this.cursor);
  }

  select(row, at, brush) {
    this.cursor.setAttribute("x", at);
    this.cursor.setAttribute("y", row);
    [...this.names.children].forEach((name, k) => name.classList.toggle("selected", k === row));
    const box = brush ?? { from: 0, to: -1, first: 0, last: -1 };
    this.brush.setAttribute("x", box.from);
    this.brush.setAttribute("y", box.first);
    this.brush.setAttribute("width", box.to - box.from + 1);
    this.brush.setAttribute("height", box.last - box.first + 1);
  }

  cell(event) {
    const box = this.frame.getBoundingClientRect();
    const share = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
    const sizes = [this.rows.length, this.count];
    return share.map((part, k) => clamped(Math.floor(part * sizes[k]), 0, sizes[k] - 1));
  }
}

function rectangle([row, at], [otherRow, otherAt]) {
  return {
    first: Math.min(row, otherRow), last: Math.max(row, otherRow),
    from: Math.min(at, otherAt), to: Math.max(at, otherAt),
  };
}
