// Boot data changed on their way in, as a capture does it: a "render" user, no live socket, many
// requests at a time.
let boot;
Object.defineProperty(window, 'grafanaBootData', {
  configurable: true,
  get: () => boot,
  set(value) {
    boot = value;
    boot.user.authenticatedBy = 'render';
    boot.settings.liveEnabled = false;
    boot.settings.http2Enabled = true;
  },
});

// Every element is near the window.
window.IntersectionObserver = class {
  constructor(callback) {
    this.callback = callback;
  }
  observe(target) {
    queueMicrotask(() => this.callback([{ target, isIntersecting: true }], this));
  }
  unobserve() {}
  disconnect() {}
};
