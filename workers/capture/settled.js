// Resolves when what is known to be ready is also drawn: fonts, two frames, images of panels.
async () => {
  'use strict';
  const within = (milliseconds, promise) =>
    Promise.race([promise, new Promise((resolve) => setTimeout(resolve, milliseconds))]);
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
  return true;
};
