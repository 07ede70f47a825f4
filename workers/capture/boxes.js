// The panels as the browser laid them out, in CSS pixels: { left, top, width, bottom, boxes }, or
// null where there are none. A box is { key, heading, left, top, width, height, cuts, head },
// relative to left and top of the whole; each element is marked with the number of its box.
() => {
  'use strict';

  const key = panels.numbering();
  const MARK = 'data-sheet';
  for (const old of document.querySelectorAll(`[${MARK}]`)) {
    old.removeAttribute(MARK);
  }

  // A grid item that repeats holds several panels; each of them is placed on its own. Layouts
  // without a grid have panels only.
  const keyed = (element) =>
    [...element.querySelectorAll('[data-viz-panel-key]')].filter(
      (panel) => !panel.parentElement.closest('[data-viz-panel-key]'),
    );
  function leaves(item) {
    const inner = keyed(item);
    return inner.length > 1 ? inner : [item];
  }
  const items = [...document.querySelectorAll('.react-grid-item')];
  const elements = [
    ...items.flatMap(leaves),
    ...keyed(document.body).filter((panel) => !panel.closest('.react-grid-item')),
  ];
  const shown = elements.slice(0, panels.MOST).filter((element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0;
  });
  if (shown.length === 0) {
    return null;
  }

  const grids = document.querySelectorAll('.react-grid-layout');
  const whole =
    grids.length === 1 ? grids[0] : shown.map((e) => e.parentElement).reduce(commonAncestor);
  function commonAncestor(one, other) {
    let ancestor = one;
    while (!ancestor.contains(other)) {
      ancestor = ancestor.parentElement;
    }
    return ancestor;
  }
  whole.setAttribute(MARK, 'whole');
  const frame = whole.getBoundingClientRect();

  // A table may be cut below each of its rows; its column headings are repeated.
  function cutsOf(element, box) {
    const rows = [...element.querySelectorAll('[role="table"] [role="row"], [role="grid"] [role="row"]')];
    const heads = rows.filter((row) => row.querySelector('[role="columnheader"]'));
    if (heads.length !== 1) {
      return { cuts: [], head: 0 };
    }
    const below = (row) => row.getBoundingClientRect().bottom - box.top;
    const head = below(heads[0]);
    return { cuts: rows.map(below).filter((cut) => cut > head && cut < box.height), head };
  }

  const boxes = shown.map((element, index) => {
    element.setAttribute(MARK, String(index));
    const box = element.getBoundingClientRect();
    const heading = panels.isHeading(element);
    return {
      key: heading ? '' : key(panels.keyOf(element)),
      heading,
      left: box.left - frame.left,
      top: box.top - frame.top,
      width: box.width,
      height: box.height,
      ...(box.height > 600 ? cutsOf(element, box) : { cuts: [], head: 0 }),
    };
  });
  return {
    left: frame.left,
    top: frame.top,
    width: frame.width,
    bottom: Math.max(...boxes.map((box) => frame.top + box.top + box.height)),
    boxes,
  };
};
