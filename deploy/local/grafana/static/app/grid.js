// The grid: 24 columns, rows of 30 px with 8 px between them, panels pulled up as far as they go.

export const COLUMNS = 24;
export const ROW = 30;
export const GAP = 8;
const ONE_COLUMN_BELOW = 769;

// Boxes of a list of {key, x, y, w, h}: Map key -> {left, top, width, height}, and the height of
// the whole.
export function arrange(items, width) {
  return window.innerWidth < ONE_COLUMN_BELOW ? oneColumn(items, width) : columns(items, width);
}

function columns(items, width) {
  const unit = (width + GAP) / COLUMNS;
  const boxes = new Map();
  let height = 0;
  for (const { key, x, y, w, h } of compact(items)) {
    const box = {
      left: Math.round(x * unit),
      top: y * (ROW + GAP),
      width: Math.round(w * unit - GAP),
      height: h * (ROW + GAP) - GAP,
    };
    boxes.set(key, box);
    height = Math.max(height, box.top + box.height);
  }
  return { boxes, height, stacked: false };
}

function oneColumn(items, width) {
  const boxes = new Map();
  let top = 0;
  for (const { key, h } of ordered(items)) {
    const height = h * (ROW + GAP) - GAP;
    boxes.set(key, { left: 0, top, width, height });
    top += height + GAP;
  }
  return { boxes, height: top, stacked: true };
}

const ordered = (items) => items.toSorted((one, other) => one.y - other.y || one.x - other.x);

function compact(items) {
  const placed = [];
  for (const item of ordered(items)) {
    const moved = { ...item };
    while (moved.y > 0 && !placed.some((other) => overlap({ ...moved, y: moved.y - 1 }, other)))
      moved.y -= 1;
    while (placed.some((other) => overlap(moved, other))) moved.y += 1;
    placed.push(moved);
  }
  return placed;
}

const overlap = (one, other) =>
  one.x < other.x + other.w &&
  other.x < one.x + one.w &&
  one.y < other.y + other.h &&
  other.y < one.y + one.h;
