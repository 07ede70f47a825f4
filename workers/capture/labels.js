// Says on each panel what it is, for those who have it read to them, and what is amiss with it,
// for all. Given [{ index, label, amiss }], by the numbers that boxes.js gave.
(labels) => {
  'use strict';
  for (const { index, label, amiss } of labels) {
    const element = document.querySelector(`[data-sheet='${Number(index)}']`);
    if (!element) {
      continue;
    }
    if (label) {
      element.setAttribute('role', 'figure');
      element.setAttribute('aria-label', label);
    }
    if (!amiss) {
      continue;
    }
    if (getComputedStyle(element).position === 'static') {
      element.style.setProperty('position', 'relative');
    }
    const note = document.createElement('div');
    note.textContent = amiss;
    note.style.cssText =
      'position:absolute;left:0;right:0;bottom:0;z-index:1000;margin:0;padding:4px 8px;' +
      'background:#b42318;color:#fff;font:500 12px/16px Inter,Roboto,Helvetica,Arial,sans-serif;' +
      'max-height:40px;overflow:hidden;text-align:left;white-space:normal;border-radius:0 0 2px 2px';
    element.append(note);
  }
};
