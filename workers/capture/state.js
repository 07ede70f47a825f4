// Answers one question in one round trip: what does each panel show, and is the page through?
//
// Returns { frontEnd: 'scenes' | 'legacy' | 'dom' | 'booting' | 'failed', ready, version, busy,
//           started, alert, panels: [{ key, title, type, state, message }] }
// where state is one of 'ok', 'no data', 'error', 'missing plugin', or 'loading' and
// 'not started', which mean "wait".
// Objects of Grafana are recognised by what they can do, never by class names: minified code
// keeps the former only.
() => {
  'use strict';

  const FINISHED = /^(Done|Error|Streaming)$/;
  const text = (value) => (typeof value === 'string' ? value.slice(0, 500) : '');
  const scene = window.__grafanaSceneContext;
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
    alert: text(alertBox?.textContent?.trim()),
    path: location.pathname,
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

  function scenePanel(panel) {
    const { key, pluginId, _pluginLoadError: pluginError } = panel.state;
    let title = panel.state.title;
    try {
      title = panel.interpolate ? panel.interpolate(title, undefined, 'text') : title;
    } catch (error) {
      title = panel.state.title;
    }
    const seen = { key: text(key), title: text(title), type: text(pluginId), message: '' };
    if (pluginError) {
      return { ...seen, state: 'missing plugin', message: text(pluginError) };
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
    const seen = new Set();
    (function walk(object) {
      if (seen.has(object)) {
        return;
      }
      seen.add(object);
      if (object.state?.isCollapsed === true || object.state?.collapse === true) {
        object.onCollapseToggle?.();
      }
      if (typeof object.applyFieldConfig === 'function' && object.state?.pluginId) {
        result.panels.push(scenePanel(object));
      }
      object.forEachChild?.(walk);
    })(root);
    result.ready = root.isActive !== false && !(window.__grafanaRunningQueryCount > 0);
  }

  // -- legacy (8 to 10): find each panel's React component by its fibre ---------------------

  function fibreOf(element) {
    const name = Object.keys(element).find((key) => /^__react(Fiber|InternalInstance)\$/.test(key));
    return name && element[name];
  }

  function wrapperOf(element) {
    const pending = [fibreOf(element)?.child];
    for (let steps = 0; pending.length > 0 && steps < 2000; steps++) {
      const fibre = pending.pop();
      if (!fibre) {
        continue;
      }
      const node = fibre.stateNode;
      if (node?.state && 'data' in node.state && node.props?.panel && node.props?.dashboard) {
        return node;
      }
      pending.push(fibre.sibling, fibre.child);
    }
    return undefined;
  }

  function legacyPanel(element) {
    const missing = [...element.querySelectorAll('[data-testid="data-testid Alert error"]')]
      .map((alert) => alert.textContent.trim())
      .find((message) => /plugin not found/i.test(message));
    const wrapper = wrapperOf(element);
    const panel = wrapper?.props.panel;
    let title = panel?.title;
    try {
      title = panel?.getDisplayTitle ? panel.getDisplayTitle() : title;
    } catch (error) {
      title = panel?.title;
    }
    const seen = {
      key: `panel-${element.dataset.panelid}`,
      title: text(title),
      type: text(panel?.type),
      message: '',
    };
    if (missing) {
      return { ...seen, state: 'missing plugin', message: text(missing) };
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
    result.panels = items.filter((item) => !item.querySelector('.dashboard-row')).map(legacyPanel);
    result.ready = true;
  }

  // -- neither: the private names are gone; go by what is drawn -----------------------------

  function readDom(items) {
    result.frontEnd = 'dom';
    result.panels = items.map((item, index) => {
      const header = item.querySelector('[data-testid^="data-testid Panel header "]');
      const failed = item.querySelector(
        '[data-testid="data-testid Panel status error"], .panel-info-corner--error',
      );
      return {
        key: `item-${index}`,
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
  if (scene?.state) {
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
