// Runs in every document before Grafana does. Each part stands alone: one that fails on a
// front-end it does not know must not take the others with it.
(() => {
  'use strict';

  // Every lazy panel loads at once: Grafana's only lazy loader is an IntersectionObserver.
  class EveryoneIsVisible {
    constructor(callback) {
      this.callback = callback;
      this.root = null;
      this.rootMargin = '';
      this.thresholds = [0];
      this.targets = new Set();
    }
    observe(target) {
      this.targets.add(target);
      queueMicrotask(() => {
        if (!this.targets.has(target)) {
          return;
        }
        const box = target.getBoundingClientRect();
        const entry = {
          target,
          isIntersecting: true,
          intersectionRatio: 1,
          boundingClientRect: box,
          intersectionRect: box,
          rootBounds: null,
          time: performance.now(),
        };
        this.callback([entry], this);
      });
    }
    unobserve(target) {
      this.targets.delete(target);
    }
    disconnect() {
      this.targets.clear();
    }
    takeRecords() {
      return [];
    }
  }
  window.IntersectionObserver = EveryoneIsVisible;

  // Nobody is there to be asked, and a page that asks waits. What lives as long as the tab is not
  // for the next dashboard in it.
  window.alert = window.print = () => {};
  window.confirm = () => false;
  window.prompt = () => null;
  try {
    if (window === window.top) {
      window.name = '';
      window.sessionStorage.clear();
    }
  } catch (error) {
    console.debug('a document without storage', error);
  }

  // The boot data as Grafana assigns them: no live socket, no telemetry, no plugin preload; and
  // more than five data requests at a time, which the gateway can take.
  let bootData;
  Object.defineProperty(window, 'grafanaBootData', {
    configurable: true,
    get: () => bootData,
    set: (value) => {
      bootData = value;
      try {
        const settings = value.settings;
        value.user.authenticatedBy = 'render';
        settings.liveEnabled = false;
        settings.newsFeedEnabled = false;
        settings.http2Enabled = true;
        if (settings.grafanaJavascriptAgent) {
          settings.grafanaJavascriptAgent.enabled = false;
        }
        for (const app of Object.values(settings.apps || {})) {
          app.preload = false;
        }
        if (settings.pluginsToPreload) {
          settings.pluginsToPreload = [];
        }
      } catch (error) {
        console.debug('boot data of an unknown shape', error);
      }
    },
  });

  // Scenes: stop auto-refresh before the picker starts its timer. A dashboard that refreshes
  // faster than it loads would never be ready.
  let scene;
  Object.defineProperty(window, '__grafanaSceneContext', {
    configurable: true,
    get: () => scene,
    set: (value) => {
      scene = value;
      try {
        value?.state?.controls?.state?.refreshPicker?.setState({ refresh: '' });
      } catch (error) {
        console.debug('no refresh picker', error);
      }
    },
  });

  // Newer front-ends take a page with this function for a capture and stop their timers.
  window.__grafanaImageRendererMessageChannel = () => {};
})();
