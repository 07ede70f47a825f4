// A dashboard's model, made ready for drawing: rows, and panels repeated over a variable.

const DEFAULT_BOX = { x: 0, y: 0, w: 12, h: 8 };

export const boxOf = ({ gridPos }) => ({ ...DEFAULT_BOX, ...gridPos });

export const isRow = (panel) => panel.type === 'row';

// Panels of the flat list, each with the row above it (or null).
export function withRows(panels) {
  let row = null;
  return panels.map((panel) => {
    if (isRow(panel)) row = panel;
    return { panel, row: isRow(panel) ? null : row };
  });
}

// Where the panels of a collapsed row go when it opens, and how far everything below has to move
// down.
export function unfolded(row, nested) {
  if (!nested.length) return { moved: [], height: 0 };
  const { y } = boxOf(row);
  const shift = y + 1 - Math.min(...nested.map((panel) => boxOf(panel).y));
  const moved = nested.map((panel) => ({
    ...panel,
    gridPos: { ...boxOf(panel), y: boxOf(panel).y + shift },
  }));
  const bottom = Math.max(...moved.map(({ gridPos }) => gridPos.y + gridPos.h));
  return { moved, height: bottom - y - 1 };
}

// Boxes of `count` repeats of one panel, and how many grid rows they add below it.
export function repeatBoxes(panel, count) {
  const { x, y, w, h } = boxOf(panel);
  if (panel.repeatDirection === 'v') {
    const boxes = Array.from({ length: count }, (_, at) => ({ x, y: y + at * h, w, h }));
    return { boxes, added: (count - 1) * h };
  }
  const across = Math.min(count, panel.maxPerRow ?? 4);
  const boxes = Array.from({ length: count }, (_, at) => ({
    x: (at % across) * (24 / across),
    y: y + Math.floor(at / across) * h,
    w: 24 / across,
    h,
  }));
  return { boxes, added: (Math.ceil(count / across) - 1) * h };
}
