// What the other scripts have in common: how to find the panels of either front-end. Put before
// each of them, within the same function; nothing of it is left in the page.
//
// Objects of Grafana are recognised by what they can do, never by class names: minified code
// keeps the former only.
const panels = (() => {
  'use strict';

  // More than the worker takes; a page may have, or say that it has, any number.
  const MOST = 5000;
  const text = (value) => (typeof value === 'string' ? value.slice(0, 500) : '');

  // Repeats may share a key: the second one gets a number, in the order of page and scene alike.
  function numbering() {
    const taken = new Map();
    return (key) => {
      const count = (taken.get(key) || 0) + 1;
      taken.set(key, count);
      return count > 1 ? `${key}#${count}` : key;
    };
  }

  const HEADING = '.dashboard-row, [data-testid^="data-testid dashboard-row-title"]';
  const isHeading = (element) => element.querySelector(HEADING) !== null;

  // How an element of the page is called in the verdict. Without the names of either front-end,
  // by its number in the grid.
  function keyOf(element) {
    const named =
      element.dataset.vizPanelKey ??
      element.querySelector('[data-viz-panel-key]')?.dataset.vizPanelKey ??
      (element.dataset.panelid && `panel-${element.dataset.panelid}`);
    const item = element.closest('.react-grid-item');
    return named || `item-${[...document.querySelectorAll('.react-grid-item')].indexOf(item)}`;
  }

  // -- scenes (10 to 13): the scene graph ---------------------------------------------------

  function scene() {
    const root = window.__grafanaSceneContext;
    return root?.state ? root : undefined;
  }

  // Calls `visit` with every panel, in the order of the page; opens rows that are collapsed.
  function eachOfScene(root, visit) {
    const seen = new Set();
    (function walk(object) {
      if (seen.has(object)) {
        return;
      }
      seen.add(object);
      if (seen.size > 100000) {
        throw new Error('the scene has no end');
      }
      if (object.state?.isCollapsed === true || object.state?.collapse === true) {
        object.onCollapseToggle?.();
      }
      if (typeof object.applyFieldConfig === 'function' && object.state?.pluginId) {
        visit(object);
      }
      object.forEachChild?.(walk);
    })(root);
  }

  function interpolated(object, value) {
    if (typeof value !== 'string') {
      return '';
    }
    try {
      return text(object.interpolate ? object.interpolate(value, undefined, 'text') : value);
    } catch (error) {
      return text(value);
    }
  }

  // -- legacy (8 to 10): each panel's React component, found by its fibre -------------------

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

  function titleOf(panel) {
    try {
      return text(panel?.getDisplayTitle ? panel.getDisplayTitle() : panel?.title);
    } catch (error) {
      return text(panel?.title);
    }
  }

  return {
    MOST,
    text,
    numbering,
    isHeading,
    keyOf,
    scene,
    eachOfScene,
    interpolated,
    fibreOf,
    wrapperOf,
    titleOf,
  };
})();
