// Lays the grid out for print: no panel crosses a page break. Called with { width, height,
// smallest }: the printable area in layout pixels, and how far it may shrink to save pages.
// Returns { pages, fit }: the sheet must be printed at `fit` times its scale, and holds 1 / fit
// times as many pixels.
//
// Every panel becomes a child of the grid as far as layout goes (what stands between is
// `display: contents`), placed absolutely: `top` is what Chromium breaks pages by. Panels that
// overlap vertically form a band; bands fill pages; one taller than a page is scaled to fit.
(sheet) => {
  'use strict';

  const { width, height, smallest } = sheet;
  const GAP = 8;
  // Kept free above and below, so that no border falls on the break itself.
  const EDGE = 2;
  const grid = document.querySelector('.react-grid-layout');
  if (!grid) {
    return { pages: 0, fit: 1 };
  }

  // Rules of a style sheet, not inline styles: the front-end may lay its grid out once more, and
  // writes inline styles when it does.
  const rules = [];
  function important(element, styles) {
    const mark = String(rules.length);
    const declarations = Object.entries(styles).map(
      ([name, value]) => `${name}: ${value} !important;`,
    );
    element.setAttribute('data-sheet', mark);
    rules.push(`[data-sheet='${mark}'][data-sheet][data-sheet] { ${declarations.join(' ')} }`);
  }

  // A grid item that repeats holds several panels; each of them is placed on its own.
  function leaves(item) {
    const inner = [...item.querySelectorAll('[data-viz-panel-key]')].filter(
      (panel) => !panel.parentElement.closest('[data-viz-panel-key]'),
    );
    return inner.length > 1 ? inner : [item];
  }

  const origin = grid.getBoundingClientRect();
  const items = [...grid.querySelectorAll('.react-grid-item')];
  const boxes = items
    .flatMap((item) =>
      leaves(item).map((element) => {
        const box = element.getBoundingClientRect();
        const heading =
          element.querySelector(
            '.dashboard-row, [data-testid^="data-testid dashboard-row-title"]',
          ) !== null;
        return {
          item,
          element,
          heading,
          left: box.left - origin.left,
          top: box.top - origin.top,
          width: box.width,
          height: box.height,
        };
      }),
    )
    .filter((box) => box.width > 0 && box.height > 0);

  // Bands: what overlaps vertically stays side by side.
  boxes.sort((a, b) => a.top - b.top || a.left - b.left);
  const bands = [];
  for (const box of boxes) {
    const last = bands.at(-1);
    if (last && box.top < last.bottom - 1) {
      last.boxes.push(box);
      last.bottom = Math.max(last.bottom, box.top + box.height);
    } else {
      bands.push({ top: box.top, bottom: box.top + box.height, boxes: [box] });
    }
  }

  // A heading goes with the band below it.
  const blocks = [];
  for (const band of bands) {
    const previous = blocks.at(-1);
    if (previous?.every((part) => part.boxes.every((box) => box.heading))) {
      previous.push(band);
    } else {
      blocks.push([band]);
    }
  }

  // Fill pages of a sheet printed at `fit` of its scale. A block is placed whole; one that is
  // taller than a page shrinks. Returns the number of pages and where each box goes.
  function fill(fit) {
    const room = height / fit;
    const usable = room - 2 * EDGE;
    const indent = (width / fit - width) / 2;
    let page = 0;
    let used = 0;
    const places = [];
    for (const block of blocks) {
      const { top } = block[0];
      const tall = block.at(-1).bottom - top;
      const zoom = Math.min(1, usable / tall);
      const needed = tall * zoom;
      if (used > 0 && used + GAP + needed > usable) {
        page += 1;
        used = 0;
      }
      const below = used > 0 ? used + GAP : 0;
      const start = page * room + EDGE + below;
      used = below + needed;
      for (const box of block.flatMap((band) => band.boxes)) {
        const x = indent + box.left * zoom + ((1 - zoom) * width) / 2;
        const y = start + (box.top - top) * zoom;
        places.push({ ...box, x, y, zoom });
      }
    }
    return { fit, pages: page + 1, room, places };
  }

  // A little smaller is better than a last page with one panel on it: worth it as long as more
  // paper is saved than what is printed loses in size.
  const cost = ({ pages, fit }) => pages / fit ** 2;
  const fits = [1, 0.98, 0.96, 0.94, 0.92, 0.9, 0.88, 0.86, 0.84, 0.82, 0.8];
  const filled = fits.filter((fit) => fit >= Math.min(smallest, 1)).map(fill);
  const { fit, pages, room, places } = filled.reduce((best, next) =>
    cost(next) < cost(best) ? next : best,
  );

  for (const { item, element } of boxes) {
    for (
      let between = element.parentElement;
      element !== item && between !== grid;
      between = between.parentElement
    ) {
      important(between, { display: 'contents' });
    }
  }
  for (const { element, x, y, width: wide, height: tall, zoom } of places) {
    important(element, {
      position: 'absolute',
      left: `${x}px`,
      top: `${y}px`,
      width: `${wide * zoom}px`,
      height: `${tall * zoom}px`,
      transform: 'none',
      margin: '0',
      'break-inside': 'avoid',
    });
    if (zoom < 1) {
      // The panel inside, not the box that is placed: printing misplaces a zoomed absolute box.
      for (const child of element.children) {
        important(child, { zoom: String(zoom), width: `${wide}px`, height: `${tall}px` });
      }
    }
  }
  important(grid, {
    position: 'relative',
    width: `${width / fit}px`,
    height: `${pages * room - EDGE}px`,
    margin: '0',
    padding: '0',
  });

  // Whatever stands around the grid must neither clip it nor push it down.
  for (let around = grid.parentElement; around; around = around.parentElement) {
    important(around, {
      display: 'block',
      position: 'static',
      width: 'auto',
      'max-width': 'none',
      'min-width': '0',
      height: 'auto',
      'min-height': '0',
      'max-height': 'none',
      margin: '0',
      padding: '0',
      border: '0',
      overflow: 'visible',
      contain: 'none',
      transform: 'none',
      inset: 'auto',
    });
    for (const sibling of around.children) {
      if (!sibling.contains(grid)) {
        important(sibling, { display: 'none' });
      }
    }
  }
  const style = document.createElement('style');
  style.textContent = rules.join('\n');
  document.head.append(style);
  return { pages, fit };
};
