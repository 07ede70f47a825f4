// Brings what lies `down` CSS pixels below the top of the panels into the window, and returns
// where the panels' upper left corner is then: { left, top }, once that is drawn.
async (down) => {
  'use strict';
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => resolve()));
  const soon = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  const whole = document.querySelector("[data-sheet='whole']");
  if (!whole) {
    return null;
  }
  // The older front-end scrolls inside an element as tall as the window, the newer one the page.
  let scroller = whole.parentElement;
  while (
    scroller &&
    !(
      scroller.scrollHeight > scroller.clientHeight &&
      /auto|scroll/.test(getComputedStyle(scroller).overflowY)
    )
  ) {
    scroller = scroller.parentElement;
  }
  scroller ??= document.scrollingElement;
  const at = () => whole.getBoundingClientRect();
  const visible = scroller === document.scrollingElement ? 0 : scroller.getBoundingClientRect().top;
  scroller.scrollTop += at().top + down - visible;
  await Promise.race([frame().then(frame), soon(500)]);
  return { left: at().left, top: at().top };
};
