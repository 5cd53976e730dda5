// Token by token: the text, the plane, the map and the numbers of one token, all with the same selection.

class Explorer {
  constructor(section, texts) {
    this.section = section;
    this.texts = texts;
    this.plane = new Plane(this.part("plane"), (at) => this.change({ at }));
    this.map = new ValueMap(
      this.part("map"), this.part("rows"),
      (row, at) => this.change({ at, ...this.chosenRow(row) }), (brush) => this.change({ brush }),
    );
    for (const name of ["text", "view", "quantity"])
      this.part(name).addEventListener("change", (event) => this.change({ [name]: event.target.selectedIndex }));
    this.part("tokens").addEventListener("click", (event) => {
      const at = event.target.dataset.at;
      if (at === undefined) return;
      const to = [this.row, Number(at)];
      const brush = event.shiftKey ? rectangle([this.row, this.state.at], to) : null;
      this.change({ at: to[1], brush });
    });
    for (const name of ["tokens", "map"])
      this.part(name).addEventListener("keydown", (event) => this.key(event));
    this.state = { text: 0, view: 0, quantity: 0, at: 0, brush: null };
    section.hidden = false;
    section.classList.add("live");
    this.drawText();
  }

  part(name) {
    return this.section.querySelector(`[data-part="${name}"]`);
  }

  get text() {
    return this.texts[this.state.text];
  }

  get quantity() {
    return this.text.quantities[this.state.quantity];
  }

  // Several layers have a row each; of a single one, the quantities have.
  get byLayer() {
    return this.text.views.length > 1;
  }

  chosenRow(row) {
    return this.byLayer ? { view: row } : { quantity: row };
  }

  get row() {
    return this.byLayer ? this.state.view : this.state.quantity;
  }

  get rows() {
    const { text, quantity, state } = this;
    if (!quantity) return [];
    return this.byLayer
      ? text.views.map((label, k) => ({ label, values: quantity.values[k], quantity }))
      : text.quantities.map((each) => ({ label: each.name, values: each.values[state.view], quantity: each }));
  }

  change(update) {
    const before = this.state;
    this.state = { ...before, ...update };
    if (this.state.text !== before.text) {
      Object.assign(this.state, { view: 0, quantity: 0, at: 0, brush: null });
      return this.drawText();
    }
    if (this.state.view !== before.view || this.state.quantity !== before.quantity) this.drawValues();
    this.drawSelection();
  }

  drawText() {
    const { tokens, breaks, views, quantities } = this.text;
    const choices = {
      text: this.texts.map((each) => `“${each.tokens.slice(0, 8).join("").replaceAll("·", " ").trim()}…”`),
      view: views,
      quantity: quantities.map((each) => each.name),
    };
    for (const [name, options] of Object.entries(choices)) {
      const select = this.part(name);
      select.replaceChildren(...options.map((label) => html("option", { textContent: label })));
      select.closest("label").hidden = options.length < 2;
    }
    this.tokens = tokens.map((token, at) => {
      const span = html("span", { textContent: token, role: "option", tabIndex: -1 });
      span.dataset.at = at;
      return span;
    });
    const lines = new Set(breaks);
    this.part("tokens").replaceChildren(...this.tokens.flatMap((span, at) => (
      lines.has(at) ? [span, html("br")] : [span, html("wbr")]
    )));
    this.drawValues();
    this.drawSelection();
  }

  drawValues() {
    const { text, quantity, state } = this;
    this.part("view").selectedIndex = state.view;
    this.part("quantity").selectedIndex = state.quantity;
    const values = quantity?.values[state.view];
    if (quantity) this.tokens.forEach((span, at) => colour(span, values?.[at], quantity));
    this.plane.draw(text.planes[state.view], text.tokens, values, quantity);
    const rows = this.rows;
    this.part("map").parentElement.hidden = !rows.length;
    if (rows.length) this.map.draw(rows, text.tokens.length);
    this.part("scale").hidden = !quantity;
    if (!quantity) return;
    const [low, high] = quantity.ends;
    const ends = quantity.signed ? [low, 0, high] : [low, high];
    this.part("bar").className = `bar ${quantity.signed ? "signed" : "plain"}`;
    this.part("ends").replaceChildren(...ends.map((end) => html("span", { textContent: written(end) })));
    this.part("unit").textContent = quantity.unit;
  }

  drawSelection() {
    const { at, brush } = this.state;
    const focused = this.part("tokens").contains(document.activeElement);
    const marked = (k) => Boolean(brush) && k >= brush.from && k <= brush.to;
    this.tokens.forEach((span, k) => {
      span.classList.toggle("marked", marked(k));
      span.setAttribute("aria-selected", k === at);
      span.tabIndex = k === at ? 0 : -1;
    });
    if (focused) this.tokens[at].focus();
    this.reveal(this.tokens[at]);
    const told = this.plane.select(at, marked);
    if (this.rows.length) this.map.select(this.row, at, brush);
    this.part("numbers").replaceChildren(...this.numbers(told));
    this.part("status").textContent = brush ? this.brushed(brush) : this.selected();
  }

  // Scrolls the text, but not the page, to a token.
  reveal(token) {
    const text = this.part("tokens");
    const [top, bottom] = [token.offsetTop, token.offsetTop + token.offsetHeight];
    if (top < text.scrollTop || bottom > text.scrollTop + text.clientHeight)
      text.scrollTop = top - text.clientHeight / 2;
  }

  selected() {
    const { text, quantity, state } = this;
    const value = quantity ? `, ${quantity.name}: ${written(quantity.values[state.view]?.[state.at])}` : "";
    return `“${text.tokens[state.at]}”, ${state.at + 1} of ${text.tokens.length}, ${text.views[state.view]}${value}`;
  }

  // The mean of a brush beside that of the rest of its rows.
  brushed({ from, to, first, last }) {
    const [inside, outside] = [[], []];
    this.rows.slice(first, last + 1).forEach(({ values }) => (values ?? []).forEach((value, k) => {
      if (value !== null) (k >= from && k <= to ? inside : outside).push(value);
    }));
    const mean = (values) => written(values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
    const count = to - from + 1;
    const rows = this.rows.slice(first, last + 1).map(({ label }) => label);
    const where = rows.length > 2 ? `${rows[0]} to ${rows.at(-1)}` : rows.join(" and ");
    const compared = this.byLayer || rows.length === 1 ? `: mean ${mean(inside)}, elsewhere ${mean(outside)}` : "";
    return `${count} token${count > 1 ? "s" : ""} marked from ${from + 1} to ${to + 1}, ${where}${compared}`;
  }

  numbers(told) {
    const { text, state } = this;
    const { at, view } = state;
    const next = text.tokens[at + 1];
    const title = html("p", { className: "token" }, html("strong", { textContent: text.tokens[at] }));
    if (next) title.append(html("span", { textContent: ` then ${next}` }));
    const rows = text.quantities.flatMap(({ name, unit, values, notes }) => {
      const value = values[view]?.[at];
      if (value === null || value === undefined) return [];
      const cell = html("dd", { textContent: `${written(value)} ${unit}` });
      const note = notes[view]?.[at];
      if (note) cell.append(html("span", { className: "said", textContent: note }));
      return [html("div", {}, html("dt", { textContent: name }), cell)];
    });
    return [title, html("p", { className: "note", textContent: told }), html("dl", {}, ...rows)];
  }

  // Arrow keys move through tokens and rows, and draw the brush with Shift.
  key(event) {
    const { at } = this.state;
    const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    const turns = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key === "Escape") this.change({ brush: null });
    else if (event.key in steps || event.key in turns) {
      const row = clamped(this.row + (turns[event.key] ?? 0), 0, Math.max(this.rows.length - 1, 0));
      const to = [row, clamped(at + (steps[event.key] ?? 0), 0, this.text.tokens.length - 1)];
      this.anchor = event.shiftKey ? this.anchor ?? [this.row, at] : null;
      const brush = this.anchor && rectangle(this.anchor, to);
      this.change({ at: to[1], ...this.chosenRow(row), brush });
    } else return;
    event.preventDefault();
  }
}

for (const section of document.querySelectorAll(".explorer")) {
  new Explorer(section, JSON.parse(section.querySelector("script").textContent));
  for (const link of document.querySelectorAll("[data-live]")) link.hidden = false;
}
