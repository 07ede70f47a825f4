// The grid's box in CSS pixels: { width, top, bottom }, and how tall the page must be for it.
() => {
  'use strict';
  const grid = document.querySelector('.react-grid-layout');
  const items = grid ? [...grid.querySelectorAll('.react-grid-item')] : [];
  if (items.length === 0) {
    return null;
  }
  const boxes = items.map((item) => item.getBoundingClientRect());
  return {
    width: Math.round(grid.getBoundingClientRect().width),
    top: Math.floor(Math.min(...boxes.map((box) => box.top))),
    left: Math.floor(grid.getBoundingClientRect().left),
    bottom: Math.ceil(Math.max(...boxes.map((box) => box.bottom))),
  };
};
