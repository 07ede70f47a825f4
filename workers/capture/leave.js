// Leaves the dashboard for an address of the front-end where there is none, and takes away what
// other scripts put into the page. Returns whether nothing of the dashboard is there any more.
async (address) => {
  'use strict';
  const soon = () => new Promise((resolve) => setTimeout(resolve, 10));
  const left = () =>
    document.querySelector('[data-panelid], .react-grid-item, [data-viz-panel-key]') === null &&
    !window.__grafanaSceneContext?.isActive;

  const key = Math.random().toString(36).slice(2, 8);
  history.pushState({ key }, '', address);
  dispatchEvent(new PopStateEvent('popstate', { state: history.state }));
  for (let tries = 0; tries < 100 && !left(); tries++) {
    await soon();
  }
  // Afterwards: what is still there would be laid out once more without them.
  for (const style of document.querySelectorAll('style[data-for-print]')) {
    style.remove();
  }
  for (const mark of ['data-rule', 'data-sheet']) {
    for (const element of document.querySelectorAll(`[${mark}]`)) {
      element.removeAttribute(mark);
    }
  }
  window.scrollTo(0, 0);
  window.sessionStorage.clear();
  return left();
};
