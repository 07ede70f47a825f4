// Puts the panels where the layout wants them, for print. Given { places: [{ index, x, y, width,
// height, zoom, start, head, whole }], width, height, page, grafana, public }, by the numbers that
// boxes.js gave; width and height are of all pages together, `page` is the rule of the sheet, the
// only one that stays. Links to Grafana's address get the
// public one, since readers may not reach that which the worker uses.
//
// Every panel becomes a child of the whole as far as layout goes (what stands between is
// `display: contents`), placed absolutely: `top` is what Chromium breaks pages by.
(layout) => {
  'use strict';

  (function dropPageRules(sheets) {
    for (const sheet of sheets) {
      try {
        for (let number = sheet.cssRules.length - 1; number >= 0; number--) {
          const rule = sheet.cssRules[number];
          if (rule instanceof CSSPageRule) {
            sheet.deleteRule(number);
          } else if (rule.cssRules && rule.deleteRule) {
            dropPageRules([rule]);
          }
        }
      } catch (error) {
        // One of another origin, which may not be read.
        console.debug('a style sheet that stays as it is', error);
      }
    }
  })([...document.styleSheets, ...document.adoptedStyleSheets]);
  function addStyle(css) {
    const style = document.createElement('style');
    // By this it is found when the page is left.
    style.setAttribute('data-for-print', '');
    style.textContent = css;
    document.head.append(style);
  }
  addStyle(layout.page);

  const whole = document.querySelector("[data-sheet='whole']");
  if (!whole) {
    return;
  }

  // Rules of a style sheet, not inline styles: the front-end may lay its grid out once more, and
  // writes inline styles when it does.
  const rules = [];
  function important(element, styles) {
    if (!element.hasAttribute('data-rule')) {
      element.setAttribute('data-rule', String(rules.length));
    }
    const mark = element.getAttribute('data-rule');
    const declarations = Object.entries(styles).map(
      ([name, value]) => `${name}: ${value} !important;`,
    );
    rules.push(`[data-rule='${mark}'][data-rule][data-rule] { ${declarations.join(' ')} }`);
  }

  const spot = ({ x, y, width, height }) => ({
    position: 'absolute',
    left: `${x}px`,
    top: `${y}px`,
    width: `${width}px`,
    height: `${height}px`,
    transform: 'none',
    margin: '0',
    'break-inside': 'avoid',
  });

  function put(element, place) {
    important(element, spot(place));
    if (place.zoom < 1) {
      // The panel inside, not the box that is placed: printing misplaces a zoomed absolute box.
      for (const child of element.children) {
        important(child, {
          zoom: String(place.zoom),
          width: `${place.width / place.zoom}px`,
          height: `${place.height / place.zoom}px`,
        });
      }
    }
  }

  // A copy of a table that is continued: a frame showing a part of it, below a frame showing its
  // head. `contain: strict` keeps Chromium from breaking what hangs out of the frame.
  function copyOf(element) {
    const copy = element.cloneNode(true);
    const drawn = element.querySelectorAll('canvas');
    copy.querySelectorAll('canvas').forEach((canvas, number) => {
      canvas.getContext('2d')?.drawImage(drawn[number], 0, 0);
    });
    copy.removeAttribute('data-sheet');
    copy.removeAttribute('id');
    return copy;
  }
  function showing(element, size, from, height) {
    const frame = document.createElement('div');
    const copy = copyOf(element);
    frame.append(copy);
    important(frame, {
      position: 'relative',
      width: `${size.width}px`,
      height: `${height}px`,
      overflow: 'hidden',
      contain: 'strict',
    });
    important(copy, {
      position: 'absolute',
      left: '0',
      top: `${-from}px`,
      width: `${size.width}px`,
      height: `${size.height}px`,
      transform: 'none',
      margin: '0',
    });
    return frame;
  }
  function putPiece(element, size, place) {
    const piece = document.createElement('div');
    if (place.head > 0) {
      const head = showing(element, size, 0, place.head);
      head.setAttribute('aria-hidden', 'true');
      piece.append(head);
    }
    piece.append(showing(element, size, place.start, place.height - place.head));
    important(piece, { ...spot(place), contain: 'strict', overflow: 'hidden' });
    whole.append(piece);
  }

  for (const link of whole.querySelectorAll('a[href]')) {
    if (link.href === layout.grafana || link.href.startsWith(`${layout.grafana}/`)) {
      link.href = layout.public + link.href.slice(layout.grafana.length);
    }
  }

  const elements = new Map(
    [...document.querySelectorAll('[data-sheet]')].map((e) => [e.getAttribute('data-sheet'), e]),
  );
  const between = new Set();
  for (const { index } of layout.places) {
    const element = elements.get(String(index));
    for (let above = element?.parentElement; above && above !== whole; ) {
      between.add(above);
      above = above.parentElement;
    }
  }
  for (const element of between) {
    important(element, { display: 'contents' });
  }
  const cut = new Map();
  for (const place of layout.places) {
    const element = elements.get(String(place.index));
    if (!element) {
      continue;
    }
    if (place.whole) {
      put(element, place);
      continue;
    }
    if (!cut.has(element)) {
      const { width, height } = element.getBoundingClientRect();
      cut.set(element, { width, height });
    }
    putPiece(element, cut.get(element), place);
  }
  for (const element of cut.keys()) {
    important(element, { display: 'none' });
  }
  important(whole, {
    display: 'block',
    position: 'relative',
    width: `${layout.width}px`,
    height: `${layout.height}px`,
    'min-height': '0',
    margin: '0',
    padding: '0',
  });

  // Whatever stands around must neither clip it nor push it down.
  for (let around = whole.parentElement; around; around = around.parentElement) {
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
      if (!sibling.contains(whole)) {
        important(sibling, { display: 'none' });
      }
    }
  }
  addStyle(rules.join('\n'));
};
