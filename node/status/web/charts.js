// Curves of the latest five minutes, drawn as SVG in the pixels that there are.

const SLOTS = 300;
const LEFT = 4, TOP = 16, BOTTOM = 20;
const NARROW = 480; // pixels below which there is room for every other minute's label only

/** The least round number, of one digit and zeros, that is not below a value. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9));
}

function element(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

/**
 * A chart in an svg element; several curves stand on top of each other, so that the highest one is
 * the sum of all.
 *
 * options.classes: of the curves, in their order. options.floor: what the axis shows at least.
 * options.label: writes a value of the axis. options.steps: whether values jump.
 * options.onPoint: called with the index of the values that are pointed at, or null.
 */
export class Chart {
  constructor(svg, options) {
    this.svg = svg;
    this.options = options;
    this.series = [];
    this.pointed = null;
    new ResizeObserver(() => this.draw()).observe(svg);
    svg.addEventListener("pointermove", (event) => this.point(event));
    svg.addEventListener("pointerleave", () => this.point(null));
  }

  /** Show other values: for each curve a list, the latest value last. */
  show(series) {
    this.series = series;
    this.draw();
  }

  /** Which values are pointed at; null for none. */
  get index() {
    const length = this.series[0]?.length ?? 0;
    if (this.pointed === null || length === 0) return null;
    const index = Math.round(this.pointed * (SLOTS - 1)) - (SLOTS - length);
    return index < 0 ? null : Math.min(index, length - 1);
  }

  point(event) {
    if (event === null) this.pointed = null;
    else {
      const box = this.svg.getBoundingClientRect();
      this.pointed = Math.min(1, Math.max(0, (event.clientX - box.left - LEFT) / (box.width - 2 * LEFT)));
    }
    this.draw();
    this.options.onPoint(this.index);
  }

  draw() {
    const width = this.svg.clientWidth, height = this.svg.clientHeight;
    if (width === 0) return;
    const { classes, floor, label, steps } = this.options;
    const sums = (this.series[0] ?? []).map((_, index) => this.series.reduce((sum, one) => sum + one[index], 0));
    const top = roundUp(Math.max(floor, ...sums));
    const bottom = height - BOTTOM;
    const x = (slot) => LEFT + (slot / (SLOTS - 1)) * (width - 2 * LEFT);
    const y = (value) => bottom - (value / top) * (bottom - TOP);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const at = Math.round(y(share * top)) + 0.5;
      parts.push(element("line", { class: "grid", x1: LEFT, x2: width - LEFT, y1: at, y2: at }));
      if (share > 0) parts.push(element("text", { x: LEFT, y: at - 4 }, label(share * top)));
    }
    for (let minute = 0; minute <= 5; minute += width < NARROW ? 2 : 1) {
      const anchor = minute === 0 ? "end" : minute === 5 ? "start" : "middle";
      const text = minute === 0 ? "now" : `−${minute} min`;
      const at = x(SLOTS - 1 - (minute * (SLOTS - 1)) / 5);
      parts.push(element("text", { x: at, y: height - 5, "text-anchor": anchor }, text));
    }
    let below = (this.series[0] ?? []).map(() => 0);
    this.series.forEach((values, number) => {
      if (values.length < 2) return;
      const first = SLOTS - values.length;
      const path = (heights) => heights.map((value, index) => {
        const [across, up] = [x(first + index).toFixed(1), y(value).toFixed(1)];
        return steps && index > 0 ? `H${across}V${up}` : `L${across},${up}`;
      }).join("").slice(1);
      const heights = values.map((value, index) => below[index] + value);
      const floorBack = below.map((value, index) => `L${x(first + index).toFixed(1)},${y(value).toFixed(1)}`);
      const area = `M${path(heights)}${floorBack.reverse().join("")}Z`;
      parts.push(element("path", { class: `area ${classes[number]}`, d: area }));
      parts.push(element("path", { class: `curve ${classes[number]}`, d: `M${path(heights)}` }));
      below = heights;
    });
    if (this.index !== null) {
      const at = Math.round(x(SLOTS - this.series[0].length + this.index)) + 0.5;
      parts.push(element("line", { class: "cursor", x1: at, x2: at, y1: TOP, y2: bottom }));
    }
    this.svg.replaceChildren(...parts);
  }
}
