// Resolves when what is known to be ready is also drawn: fonts, two frames, images of panels, and
// canvases with something on them. Returns the titles of panels whose canvases stayed blank.
async () => {
  'use strict';
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const within = (milliseconds, promise) => Promise.race([promise, pause(milliseconds)]);
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => resolve()));

  await within(2000, document.fonts.ready);
  await within(500, frame().then(frame));
  const images = [...document.querySelectorAll('.react-grid-item img')].filter(
    (image) => !image.complete,
  );
  await within(
    2000,
    Promise.all(
      images.map(
        (image) =>
          new Promise((resolve) => {
            image.addEventListener('load', resolve, { once: true });
            image.addEventListener('error', resolve, { once: true });
          }),
      ),
    ),
  );

  // Shrunk to a few pixels, a canvas with anything on it has some that are not transparent.
  const small = document.createElement('canvas');
  small.width = small.height = 24;
  const pen = small.getContext('2d', { willReadFrequently: true });
  function blank(canvas) {
    if (!canvas.width || !canvas.height) {
      return true;
    }
    try {
      pen.clearRect(0, 0, small.width, small.height);
      pen.drawImage(canvas, 0, 0, small.width, small.height);
      return !pen.getImageData(0, 0, small.width, small.height).data.some(Boolean);
    } catch (error) {
      // One that may not be read has been drawn on, with something of another origin.
      return false;
    }
  }
  // Only charts with axes: a sparkline or a map without tiles may well have nothing to draw.
  const drawing = () =>
    [...document.querySelectorAll('.uplot')].filter(
      (chart) =>
        chart.querySelector('.u-axis') &&
        [...chart.querySelectorAll('canvas')].every(
          (canvas) => canvas.getBoundingClientRect().height > 4 && blank(canvas),
        ),
    );
  for (let tries = 0; tries < 10 && drawing().length > 0; tries++) {
    await pause(100);
  }
  return drawing().map((chart) => {
    const header = chart.closest('[data-testid^="data-testid Panel header "]');
    const named = header?.getAttribute('data-testid').replace('data-testid Panel header ', '');
    return String(named || 'without a title').slice(0, 200);
  });
};
