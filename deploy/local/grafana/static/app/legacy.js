// The older front-end (9.x): panels known by [data-panelid], their state behind React-like fibre
// keys, a scroller inside a window-high main. None of it is React; only what can be seen from
// outside is kept.

import { el } from './dom.js';
import { arrange } from './grid.js';
import { forget, whenNear } from './lazy.js';
import { boxOf, isRow, repeatBoxes, unfolded } from './model.js';
import { isAngular, known, load } from './plugins.js';
import { QueryRun, sourceKnown, sourceUid } from './query.js';
import { alert, navigation, timeChip, variableBar } from './shell.js';
import { parseBound } from './time.js';
import { View, configured } from './view.js';

const SUFFIX = Math.random().toString(36).slice(2);
const STEPS = { s: 1000, m: 60_000, h: 3_600_000 };

export async function startLegacy(env, root) {
  window.panelsRendered = 0;
  const { model, meta, failed } = await loadOrEmpty(env);
  if (env.left.aborted) return;
  env.setTimes(model);
  document.title = `${model.title} - Dashboards - Grafana`;
  if (meta.slug) correctAddress(env, meta);
  const board = new Board(env, model, root);
  env.left.addEventListener('abort', () => board.destroy());
  if (failed) return;
  await env.variables.load(env.backend, env.settings, env.queryStarted);
  if (env.left.aborted) return;
  for (const { name, error } of env.variables.list) {
    if (error) board.alert(`Templating [${name}]`, `Error updating options: ${error}`);
  }
  writeVariables(env);
  await env.loadAnnotations(model);
  if (env.left.aborted) return;
  board.showVariables();
  board.build(model.panels ?? []);
  board.startRefresh();
  expose(board);
}

// A dashboard that cannot be loaded is an empty one titled "Not found"; no alert says why.
async function loadOrEmpty(env) {
  try {
    return { ...(await env.loadDashboard()), failed: false };
  } catch {
    return { model: { title: 'Not found', panels: [] }, meta: {}, failed: true };
  }
}

function correctAddress(env, meta) {
  const path = `${env.settings.appSubUrl}/d/${env.uid}/${meta.slug}`;
  if (location.pathname !== path) history.replaceState(history.state, '', path + location.search);
}

function writeVariables(env) {
  const search = new URLSearchParams(location.search);
  for (const [name] of env.variables.pairs()) search.delete(name);
  for (const [name, value] of env.variables.pairs()) search.append(name, value);
  if (env.variables.list.length)
    history.replaceState(history.state, '', `${location.pathname}?${search}`);
}

class Board {
  constructor(env, model, root) {
    this.env = env;
    this.model = model;
    this.cells = new Map();
    this.entries = [];
    this.isToggling = false;
    this.alerts = el('div', { class: 'page-alert-list' });
    this.submenu = el('section', { class: 'submenu-controls' });
    this.grid = el('div', { class: 'react-grid-layout layout' });
    root.append(this.frame(), this.alerts);
    this.gridSize = new ResizeObserver(() => this.layout());
    this.gridSize.observe(this.grid);
  }

  // The address was left: panels unmount, which cancels their queries.
  destroy() {
    clearInterval(this.timer);
    this.gridSize.disconnect();
    for (const cell of this.cells.values()) cell.destroy();
  }

  frame() {
    const { env, model } = this;
    const bars = env.isKiosk
      ? []
      : [
          navigation(model.title, env.settings.appSubUrl),
          el('div', { class: 'toolbar' }, timeChip(env)),
        ];
    const content = el(
      'div',
      { class: 'dashboard-content' },
      env.isKiosk ? null : this.submenu,
      this.grid,
    );
    const scroller = el(
      'div',
      { class: 'custom-scrollbar' },
      el('div', { class: 'scrollbar-view' }, content),
    );
    return el('div', { class: 'grafana-app' }, el('main', { class: 'main-view' }, bars, scroller));
  }

  showVariables() {
    this.submenu.replaceChildren(...variableBar(this.env.variables));
  }

  alert(title, text) {
    if (!this.alerts.textContent.includes(title)) this.alerts.append(alert(title, text));
  }

  build(panels) {
    this.nextId =
      Math.max(
        0,
        ...panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]).map(({ id }) => id ?? 0),
      ) + 1;
    this.entries = this.repeated(panels.map((panel) => ({ panel, scoped: {} })));
    this.render();
  }

  // The repeats of a panel follow it with ids of their own; what stands below makes room.
  repeated(entries) {
    let done = entries;
    for (const { panel } of entries) {
      if (!panel.repeat || isRow(panel)) continue;
      const values = this.env.variables.valuesOf(panel.repeat);
      if (!values.length) continue;
      const { boxes, added } = repeatBoxes(panel, values.length);
      const clones = values.map((value, at) => ({
        panel: { ...panel, ...(at ? this.cloneOf(panel) : {}), gridPos: boxes[at] },
        scoped: { [panel.repeat]: value },
      }));
      const { y, h } = boxOf(done.find((entry) => entry.panel.id === panel.id).panel);
      done = pushedDown(done, y + h, added).flatMap((entry) =>
        entry.panel.id === panel.id ? clones : [entry],
      );
    }
    return done;
  }

  cloneOf(panel) {
    this.nextId += 1;
    return { id: this.nextId - 1, repeat: undefined, repeatPanelId: panel.id };
  }

  render() {
    const wanted = new Set(this.entries.map(({ panel }) => panel.id));
    for (const [id, cell] of this.cells) {
      if (wanted.has(id)) continue;
      cell.destroy();
      this.cells.delete(id);
    }
    for (const { panel, scoped } of this.entries) {
      if (this.cells.has(panel.id)) continue;
      const cell = isRow(panel) ? new RowCell(this, panel) : new PanelCell(this, panel, scoped);
      this.cells.set(panel.id, cell);
      this.grid.append(cell.element);
    }
    this.layout();
    for (const cell of this.cells.values()) cell.mounted();
  }

  layout() {
    const items = this.entries.map(({ panel }) => ({
      key: panel.id,
      ...boxOf(panel),
      ...(isRow(panel) ? { x: 0, w: 24, h: 1 } : {}),
    }));
    const { boxes, height, stacked } = arrange(items, this.grid.clientWidth);
    this.grid.style.height = `${height}px`;
    this.grid.classList.toggle('one-column', stacked);
    for (const [id, box] of boxes) place(this.cells.get(id)?.element, box);
  }

  // One row per frame: two clicks at once would both start from the same state, and the second
  // would win nothing.
  toggle(row) {
    if (this.isToggling) return;
    this.isToggling = true;
    requestAnimationFrame(() => {
      this.isToggling = false;
      if (row.collapsed) this.open(row);
      else this.close(row);
      this.cells.get(row.id).update();
      this.render();
    });
  }

  open(row) {
    const { moved, height } = unfolded(row, row.panels ?? []);
    Object.assign(row, { collapsed: false, panels: [] });
    const inside = this.repeated(moved.map((panel) => ({ panel, scoped: {} })));
    const at = this.entries.findIndex(({ panel }) => panel.id === row.id);
    const lower = pushedDown(this.entries.slice(at + 1), boxOf(row).y + 1, height);
    this.entries = [...this.entries.slice(0, at + 1), ...inside, ...lower];
  }

  close(row) {
    const at = this.entries.findIndex(({ panel }) => panel.id === row.id);
    const after = this.entries.slice(at + 1);
    const next = after.findIndex(({ panel }) => isRow(panel));
    const inside = next < 0 ? after : after.slice(0, next);
    Object.assign(row, { collapsed: true, panels: inside.map(({ panel }) => panel) });
    this.entries = this.entries.filter((entry) => !inside.includes(entry));
  }

  // An absolute end of the range switches refresh off, unless the address asks for a refresh
  // itself.
  startRefresh() {
    const { env, model } = this;
    const asked = env.search.get('refresh');
    const isAbsolute =
      !String(env.raw.to).includes('now') &&
      parseBound(env.raw.to, { now: 0, zone: env.zone }) !== null;
    const every = asked ?? (isAbsolute ? '' : model.refresh);
    const [, count, unit] = /^(\d+)([smh])$/.exec(every || '') ?? [];
    if (!count) return;
    this.timer = setInterval(
      () => {
        env.resolveRange();
        for (const cell of this.cells.values()) cell.refresh?.();
      },
      Number(count) * STEPS[unit],
    );
  }
}

function pushedDown(entries, from, by) {
  return entries.map((entry) => {
    const box = boxOf(entry.panel);
    if (box.y < from || !by) return entry;
    // A row keeps its identity: its cell and its collapsed state hang on the object.
    if (isRow(entry.panel)) {
      entry.panel.gridPos = { ...box, y: box.y + by };
      return entry;
    }
    return { ...entry, panel: { ...entry.panel, gridPos: { ...box, y: box.y + by } } };
  });
}

function place(element, { left, top, width, height }) {
  if (element)
    Object.assign(element.style, {
      width: `${width}px`,
      height: `${height}px`,
      left: `${left}px`,
      top: `${top}px`,
    });
}

const ITEM = 'react-grid-item react-draggable react-resizable-hide react-resizable';

class RowCell {
  constructor(board, row) {
    this.row = row;
    this.text = board.env.variables.interpolate(row.title ?? '');
    this.button = el('button', {
      type: 'button',
      class: 'dashboard-row__title',
      onclick: () => board.toggle(row),
    });
    this.body = el('div', { 'data-testid': 'dashboard-row-container' }, this.button);
    this.element = el(
      'div',
      { class: ITEM, 'data-panelid': row.id, style: 'position: absolute' },
      this.body,
    );
    attach(this.element, fibre(this.element, [fibre(this.body)]));
    this.update();
  }

  update() {
    const count = this.row.panels?.length ?? 0;
    this.body.className = this.row.collapsed
      ? 'dashboard-row dashboard-row--collapsed'
      : 'dashboard-row';
    this.button.setAttribute('aria-expanded', String(!this.row.collapsed));
    this.button.replaceChildren(
      el('span', { class: 'row-arrow', 'aria-hidden': 'true' }),
      this.text,
      this.row.collapsed
        ? el(
            'span',
            { class: 'dashboard-row__panel_count' },
            `(${count} panel${count === 1 ? '' : 's'})`,
          )
        : '',
    );
  }

  mounted() {}

  destroy() {
    this.element.remove();
  }
}

// A panel's model as components hold it: its title still has variables in it, and knows how to fill
// them.
class PanelModel {
  constructor(panel, scoped, env) {
    Object.assign(this, panel);
    this.scopedVars = Object.fromEntries(
      Object.entries(scoped).map(([name, value]) => [name, { text: value, value, selected: true }]),
    );
    this.getDisplayTitle = () => env.variables.interpolate(panel.title ?? '', scoped);
  }
}

// Plays the component that a capture looks for: `state` is replaced, never changed, and `props`
// tell it from others.
class StateHolder {
  constructor(props, timeRange) {
    this.props = props;
    const data = { state: 'NotStarted', series: [], errors: [], timeRange };
    this.state = {
      isFirstLoad: true,
      renderCounter: 0,
      refreshWhenInView: false,
      context: {},
      data,
    };
  }

  setState(patch) {
    this.state = { ...this.state, ...patch };
  }
}

class PanelCell {
  constructor(board, panel, scoped) {
    this.board = board;
    this.env = board.env;
    this.panel = panel;
    this.scoped = scoped;
    this.slot = el('div', { class: 'lazy-slot' });
    this.element = el(
      'div',
      { class: ITEM, 'data-panelid': panel.id, style: 'position: absolute' },
      this.slot,
    );
    attach(this.element, fibre(this.element, [fibre(null, [fibre(this.slot)])]));
    this.isWaiting = true;
    whenNear(this.slot, () => this.start());
  }

  mounted() {}

  async start() {
    const { env, panel } = this;
    this.isWaiting = false;
    this.chrome = chromeOf(env.variables.interpolate(panel.title ?? '', this.scoped));
    this.slot.append(this.chrome.element);
    this.view = new View(env, panel, this.scoped, this.chrome.content);
    this.plugin = known(panel.type, env.settings)
      ? await load(panel.type, env.settings)
      : missing(panel.type);
    const panelModel = new PanelModel(panel, this.scoped, env);
    const { model: dashboard } = this.board;
    const props = {
      panel: panelModel,
      dashboard,
      plugin: this.plugin,
      isViewing: false,
      isInView: true,
    };
    this.holder = new StateHolder(props, env.timeRange);
    this.run = new QueryRun(env, panel, this.scoped, (data) => this.onData(data));
    this.grow();
    this.refresh();
  }

  // Between the grid item and the one that holds the state lie others: some without a state, some
  // with another.
  grow() {
    const { panel } = this;
    const outer = {
      props: { panel, dashboard: this.board.model, isInView: true },
      state: { isLazy: true },
    };
    const inner = fibre(this.holder, [fibre(this.chrome.element)]);
    const beside = fibre({ props: { panel }, state: { data: null } });
    attach(
      this.element,
      fibre(this.element, [
        fibre(null, [fibre(this.slot, [beside, fibre(outer, [fibre(null, [inner])])])]),
      ]),
    );
  }

  refresh() {
    if (this.isWaiting || !this.holder) return;
    if (this.plugin.meta.skipDataQuery) this.view.draw(this.plugin, []);
    else if (this.neverStarts())
      this.board.alert(`Datasource ${sourceUid(this.env, this.panel)} was not found`);
    else this.run.run(this.chrome.content.clientWidth);
  }

  // Old panels look their data source up themselves; when it is gone they do nothing at all, not
  // even an error.
  neverStarts() {
    return (
      isAngular(this.panel.type, this.env.settings) &&
      !sourceKnown(this.env, sourceUid(this.env, this.panel, this.scoped))
    );
  }

  onData(data) {
    const series = configured(this.env, this.panel, data.series, this.scoped).map(withVectors);
    this.holder.setState({
      data: { ...data, series },
      errorMessage: data.error?.message,
      isFirstLoad: false,
    });
    this.chrome.setLoading(data.state === 'Loading');
    this.chrome.setError(data.error?.message);
    if (data.state === 'Loading') return;
    if (this.plugin.missing)
      this.chrome.content.replaceChildren(alert(`Panel plugin not found: ${this.panel.type}`));
    else this.view.draw(this.plugin, data.series);
    if (data.state === 'Done') window.panelsRendered += 1;
  }

  destroy() {
    forget(this.slot);
    this.run?.cancel();
    this.view?.destroy();
    this.element.remove();
  }
}

const missing = (type) => ({ missing: true, meta: { id: type, name: type, skipDataQuery: false } });

// Fields of this age keep their values in a vector, not in an array.
class Vector {
  constructor(buffer) {
    this.buffer = buffer;
  }

  get length() {
    return this.buffer.length;
  }

  get(index) {
    return this.buffer[index];
  }

  toArray() {
    return this.buffer;
  }

  toJSON() {
    return this.buffer;
  }
}

const withVectors = (frame) => ({
  ...frame,
  fields: frame.fields.map((field) => ({ ...field, values: new Vector(field.values) })),
});

function chromeOf(title) {
  const content = el('div', { class: 'panel-content' });
  const corner = el('div', { class: 'panel-info-corner' });
  const loading = el(
    'div',
    { class: 'panel-loading', title: 'Loading' },
    el('span', { class: 'spinner' }),
  );
  const header = el(
    'div',
    { class: 'panel-header' },
    el(
      'div',
      { class: 'panel-title-container', 'data-testid': `data-testid Panel header ${title}` },
      el('h2', { class: 'panel-title__text' }, title),
    ),
  );
  const element = el(
    'section',
    {
      class: title ? 'panel-container' : 'panel-container panel-container--no-title',
      'aria-label': `${title} panel`,
    },
    corner,
    header,
    content,
  );
  return {
    element,
    content,
    setLoading: (on) => (on ? element.prepend(loading) : loading.remove()),
    setError: (message) => {
      corner.classList.toggle('panel-info-corner--error', Boolean(message));
      corner.replaceChildren(
        message
          ? el(
              'button',
              { type: 'button', 'aria-label': 'Panel header error', title: message },
              '!',
            )
          : '',
      );
    },
  };
}

function fibre(stateNode, children = []) {
  const made = {
    tag: stateNode instanceof Node ? 5 : 1,
    stateNode: stateNode ?? null,
    child: children[0] ?? null,
    sibling: null,
    return: null,
  };
  children.forEach((child, at) =>
    Object.assign(child, { return: made, sibling: children[at + 1] ?? null }),
  );
  return made;
}

function attach(element, node) {
  element[`__reactFiber$${SUFFIX}`] = node;
  element[`__reactProps$${SUFFIX}`] = { className: element.className };
}

// The model as it would be saved now: with the values that its variables have.
function withChoices({ model, env }) {
  const copy = structuredClone(model);
  for (const variable of copy.templating?.list ?? []) {
    const chosen = env.variables.list.find(({ name }) => name === variable.name);
    if (!chosen) continue;
    const { value, isAll } = chosen;
    variable.current = isAll
      ? { text: ['All'], value: ['$__all'] }
      : { text: value.length > 1 ? value : value[0], value: value.length > 1 ? value : value[0] };
  }
  return copy;
}

function expose(board) {
  const results = () =>
    [...board.cells].filter(([, cell]) => cell.run).map(([id, cell]) => [id, cell.run.data]);
  window.grafanaRuntime = {
    getDashboardSaveModel: () => withChoices(board),
    getDashboardTimeRange: () => ({
      from: board.env.range.from,
      to: board.env.range.to,
      raw: board.env.raw,
    }),
    getPanelData: () => Object.fromEntries(results()),
  };
}
