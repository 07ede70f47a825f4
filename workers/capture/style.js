// Adds a style sheet for print, marked so that it can be taken away again.
(css) => {
  'use strict';
  const style = document.createElement('style');
  style.setAttribute('data-for-print', '');
  style.textContent = css;
  document.head.append(style);
};
