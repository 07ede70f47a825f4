// Answers one question in one round trip: what does each panel show, and is the page through?
//
// Returns { frontEnd: 'scenes' | 'legacy' | 'dom' | 'booting' | 'failed', ready, version, busy,
//           started, alert, panels: [{ key, title, description, type, state, message }] }
// where state is one of 'ok', 'no data', 'error', 'missing plugin', or 'loading' and
// 'not started', which mean "wait".
() => {
  'use strict';

  const FINISHED = /^(Done|Error|Streaming)$/;
  const { text, fibreOf } = panels;
  const key = panels.numbering();
  const scene = panels.scene();
  const boot = window.grafanaBootData;
  // The page's own alert, not one inside a panel.
  const alertBox = [...document.querySelectorAll('[data-testid="data-testid Alert error"]')].find(
    (alert) => !alert.closest('.react-grid-item'),
  );
  const result = {
    frontEnd: 'booting',
    ready: false,
    version: text(boot?.settings?.buildInfo?.version),
    busy: document.querySelector('[aria-label="Panel loading bar"], .panel-loading') !== null,
    started: window.__grafana_app_bundle_loaded === true,
    alert: text(alertBox?.innerText?.trim()),
    panels: [],
  };

  function judgeData(data) {
    const errors = (data?.errors?.length ? data.errors : [data?.error]).filter(Boolean);
    if (data?.state === 'Error' || errors.length > 0) {
      const first = errors[0];
      return {
        state: 'error',
        message:
          text(first?.message || first?.data?.message || first?.statusText) || 'query failed',
      };
    }
    const filled = (data?.series || []).some(
      (frame) => frame.length > 0 || frame.fields?.some((field) => field.values?.length > 0),
    );
    return { state: filled ? 'ok' : 'no data', message: '' };
  }

  // -- scenes (10 to 13): ask the scene graph, panel by panel ------------------------------

  function sceneData(panel) {
    for (let object = panel; object; object = object.parent) {
      if (object.state?.$data) {
        return object.state.$data;
      }
    }
    return undefined;
  }

  const crashes = new Set(
    [...document.querySelectorAll('[data-testid="data-testid Alert error"]')]
      .filter((alert) => /An unexpected error happened/.test(alert.textContent))
      .map((alert) => alert.closest('[data-viz-panel-key]')?.dataset.vizPanelKey),
  );

  function scenePanel(panel) {
    const { pluginId, _pluginLoadError: pluginError } = panel.state;
    const seen = {
      key: key(text(panel.state.key)),
      title: panels.interpolated(panel, panel.state.title),
      description: panels.interpolated(panel, panel.state.description),
      type: text(pluginId),
      message: '',
    };
    if (pluginError) {
      return { ...seen, state: 'missing plugin', message: text(pluginError) };
    }
    if (crashes.has(panel.state.key)) {
      return { ...seen, state: 'error', message: 'the panel crashed' };
    }
    if (!panel.isActive || !panel.getPlugin?.()) {
      return { ...seen, state: 'loading' };
    }
    // A panel without a provider of its own takes no data; one further up belongs to others.
    const provider = panel.state.$data;
    if (!provider || panel.getPlugin().meta?.skipDataQuery) {
      return { ...seen, state: 'ok' };
    }
    const data = sceneData(panel)?.state?.data;
    if (!FINISHED.test(data?.state || '')) {
      return { ...seen, state: data?.state ? 'loading' : 'not started' };
    }
    return { ...seen, ...judgeData(data) };
  }

  function readScenes(root) {
    result.frontEnd = 'scenes';
    panels.eachOfScene(root, (panel) => {
      if (result.panels.length < panels.MOST) {
        result.panels.push(scenePanel(panel));
      }
    });
    result.ready = root.isActive !== false && !(window.__grafanaRunningQueryCount > 0);
  }

  // -- legacy (8 to 10): find each panel's React component by its fibre ---------------------

  function legacyPanel(element) {
    const missing = [...element.querySelectorAll('[data-testid="data-testid Alert error"]')]
      .map((alert) => alert.textContent.trim())
      .find((message) => /plugin not found/i.test(message));
    const wrapper = panels.wrapperOf(element);
    const panel = wrapper?.props.panel;
    const seen = {
      key: key(`panel-${element.dataset.panelid}`),
      title: panels.titleOf(panel),
      description: text(panel?.description),
      type: text(panel?.type),
      message: '',
    };
    const crashed = /An unexpected error happened/.test(
      element.querySelector('[data-testid="data-testid Alert error"], .alert-error')?.textContent,
    );
    if (missing) {
      return { ...seen, state: 'missing plugin', message: text(missing) };
    }
    if (crashed) {
      return { ...seen, state: 'error', message: 'the panel crashed' };
    }
    if (!wrapper) {
      return { ...seen, state: 'loading' };
    }
    const { data, errorMessage } = wrapper.state;
    if (errorMessage || data?.state === 'Error') {
      const judged = judgeData({ ...data, state: 'Error' });
      return { ...seen, state: 'error', message: text(errorMessage) || judged.message };
    }
    const plugin = wrapper.props.plugin || panel.plugin;
    if (plugin?.meta?.skipDataQuery) {
      return { ...seen, state: 'ok' };
    }
    if (!FINISHED.test(data?.state || '')) {
      return { ...seen, state: data?.state === 'Loading' ? 'loading' : 'not started' };
    }
    return { ...seen, ...judgeData(data) };
  }

  function readLegacy(items) {
    result.frontEnd = 'legacy';
    result.panels = items
      .filter((item) => !item.querySelector('.dashboard-row'))
      .slice(0, panels.MOST)
      .map(legacyPanel);
    result.ready = true;
  }

  // -- neither: the private names are gone; go by what is drawn -----------------------------

  function readDom(items) {
    result.frontEnd = 'dom';
    const drawn = items.filter((item) => !panels.isHeading(item)).slice(0, panels.MOST);
    result.panels = drawn.map((item) => {
      const header = item.querySelector('[data-testid^="data-testid Panel header "]');
      const failed = item.querySelector(
        '[data-testid="data-testid Panel status error"], .panel-info-corner--error',
      );
      return {
        key: key(panels.keyOf(item)),
        title: text(header?.getAttribute('data-testid')?.replace('data-testid Panel header ', '')),
        type: '',
        state: failed ? 'error' : 'ok',
        message: failed ? 'the panel shows an error' : '',
      };
    });
    result.ready = !result.busy;
  }

  if (document.querySelector('.preloader--done') && !result.started) {
    result.frontEnd = 'failed';
    return result;
  }
  if (scene) {
    readScenes(scene);
    return result;
  }
  const items = [...document.querySelectorAll('[data-panelid]')];
  const drawn = [...document.querySelectorAll('.react-grid-item')];
  if (items.some((item) => fibreOf(item))) {
    readLegacy(items);
  } else if (drawn.length > 0) {
    readDom(drawn);
  } else if (window.grafanaRuntime?.getDashboardSaveModel) {
    // Legacy with nothing on it, or not yet: the caller knows how many panels there must be.
    result.frontEnd = 'legacy';
    result.ready =
      document.querySelector('.react-grid-layout, [class*="dashboard-container"]') !== null;
  }
  return result;
};
