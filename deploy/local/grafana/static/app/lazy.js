// Panels start when they come near the window. One observer for all, made as Grafana's loader makes
// it, so that a capture can put its own IntersectionObserver in place.

let observer = null;
const waiting = new Map();

export function whenNear(element, start) {
  observer ??= new IntersectionObserver(seen, { rootMargin: '100px' });
  waiting.set(element, start);
  observer.observe(element);
}

export function forget(element) {
  waiting.delete(element);
  observer?.unobserve(element);
}

function seen(entries) {
  for (const { target, isIntersecting } of entries) {
    const start = isIntersecting && waiting.get(target);
    if (start) {
      forget(target);
      start();
    }
  }
}
