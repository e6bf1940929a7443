// Scores of some classes along the time: an SVG with a cursor, and what of it can be computed without a page.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 34, RIGHT = 10, TOP = 8, BOTTOM = 24;  // pixels around the curves
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const MOST_DOTS = 400;

export function middle(window) {
  return (window.start + window.end) / 2;
}

/** The place of the window whose middle is nearest; of two as near, the first. */
export function windowAt(windows, time) {
  let low = 0, high = windows.length - 1;
  while (low < high) {
    const place = (low + high) >> 1;
    if (time - middle(windows[place]) > middle(windows[place + 1]) - time) low = place + 1; else high = place;
  }
  return low;
}

/** 75.25 as 1:15.3. */
export function clock(time) {
  const tenths = Math.round(time * 10), minutes = Math.floor(tenths / 600), rest = (tenths % 600) / 10;
  return `${minutes}:${rest.toFixed(Number.isInteger(rest) ? 0 : 1).replace(/^(\d)(\.|$)/, "0$1$2")}`;
}

export function element(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

export class Chart {
  /** `seek` is called with the seconds of a place that is clicked or gone to by keys. */
  constructor(holder, seek) {
    this.holder = holder;
    this.seek = seek;
    this.scores = null;
    holder.addEventListener("pointerdown", (event) => {
      if (this.scores && event.button === 0) this.#drag(event);
    });
    holder.addEventListener("pointermove", (event) => {
      if (this.scores && event.buttons === 1 && holder.hasPointerCapture(event.pointerId)) this.#to(event);
    });
    holder.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(holder);
  }

  show(scores) {
    this.scores = scores;
    this.end = Math.max(...scores.windows.map((window) => window.end).slice(-2));
    this.time = 0;
    this.#draw();
  }

  clear() {
    this.scores = null;
    this.holder.replaceChildren();
  }

  /** Move the cursor; returns the place of the window there. */
  at(time) {
    this.time = Math.min(Math.max(time, 0), this.end);
    const windows = this.scores.windows, place = windowAt(windows, this.time), window = windows[place];
    const best = window.best[0];
    this.holder.setAttribute("aria-valuemin", "0");
    this.holder.setAttribute("aria-valuemax", this.end.toFixed(2));
    this.holder.setAttribute("aria-valuenow", this.time.toFixed(2));
    this.holder.setAttribute("aria-valuetext", `${clock(this.time)}, ${best.name} ${best.score.toFixed(2)}`);
    if (this.cursor) {
      const x = this.#x(this.time), from = this.#x(Math.max(window.start, 0)), to = this.#x(Math.min(window.end, this.end));
      for (const key of ["x1", "x2"]) this.cursor.setAttribute(key, x);
      this.now.setAttribute("x", from);
      this.now.setAttribute("width", Math.max(to - from, 0));
    }
    return place;
  }

  #x(time) {
    return LEFT + (time / this.end) * (this.width - LEFT - RIGHT);
  }

  #y(score) {
    return this.height - BOTTOM - score * (this.height - TOP - BOTTOM);
  }

  #draw() {
    if (!this.scores || !this.holder.clientWidth) return;
    const svg = element("svg", { "aria-hidden": "true" });
    this.holder.replaceChildren(svg);
    this.width = svg.clientWidth;
    this.height = svg.clientHeight;
    svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    for (const score of [0, 0.25, 0.5, 0.75, 1]) {
      const y = this.#y(score);
      svg.append(element("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }));
      if ((score * 2) % 1 === 0) svg.append(element("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, `${score}`));
    }
    const most = Math.max(1, Math.floor((this.width - LEFT - RIGHT) / 64));
    const step = STEPS.find((one) => this.end / one <= most) ?? this.end;
    for (let number = 0; number * step <= this.end + 1e-9; number += 1) {
      const x = this.#x(number * step), last = x > this.width - RIGHT - 16;
      svg.append(element("text", { x, y: this.height - 6, "text-anchor": last ? "end" : "middle" }, clock(number * step)));
    }
    this.now = element("rect", { class: "now", x: LEFT, y: TOP, width: 0, height: this.height - TOP - BOTTOM });
    svg.append(this.now);
    const { windows, curves } = this.scores, xs = windows.map((window) => this.#x(middle(window)).toFixed(1));
    curves.map((curve, order) => [curve, order]).reverse().forEach(([curve, order]) => {
      const ys = curve.scores.map((score) => this.#y(score).toFixed(1));
      svg.append(element("polyline", { class: `curve of-${order}`, points: xs.map((x, place) => `${x},${ys[place]}`).join(" ") }));
      if (windows.length * curves.length <= MOST_DOTS) {
        xs.forEach((x, place) => svg.append(element("circle", { class: `dot of-${order}`, cx: x, cy: ys[place], r: 3 })));
      }
    });
    this.cursor = element("line", { class: "cursor", y1: TOP, y2: this.height - BOTTOM });
    svg.append(this.cursor);
    this.at(this.time);
  }

  #drag(event) {
    this.holder.setPointerCapture(event.pointerId);
    this.#to(event);
  }

  #to(event) {
    const x = event.clientX - this.holder.getBoundingClientRect().left;
    this.seek(Math.min(Math.max((x - LEFT) / (this.width - LEFT - RIGHT), 0), 1) * this.end);
  }

  /** Arrows go from window to window. */
  #key(event) {
    if (!this.scores || event.ctrlKey || event.altKey || event.metaKey) return;
    const windows = this.scores.windows, place = windowAt(windows, this.time), last = windows.length - 1;
    const to = {
      ArrowLeft: place - 1, ArrowDown: place - 1, ArrowRight: place + 1, ArrowUp: place + 1,
      PageDown: place - 10, PageUp: place + 10, Home: 0, End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.seek(middle(windows[Math.min(Math.max(to, 0), last)]));
  }
}
