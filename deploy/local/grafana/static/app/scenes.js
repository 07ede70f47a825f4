// The newer front-end (scenes): a tree of objects behind window.__grafanaSceneContext, the document
// scrolls, repeats share one grid item. Only what can be seen from outside is kept.

import { HttpError } from './api.js';
import { el } from './dom.js';
import { transform } from './frames.js';
import { ROW, GAP, arrange } from './grid.js';
import { forget, whenNear } from './lazy.js';
import { boxOf, isRow, unfolded, withRows } from './model.js';
import { known, load } from './plugins.js';
import { QueryRun } from './query.js';
import { RefreshPicker, SceneObject, TimeRange, Variable } from './scene.js';
import { alert, navigation, timeChip, variableBar } from './shell.js';
import { View, configured } from './view.js';

// Between the end of the variables' queries and the first panel nothing runs: the counter is 0 and
// says nothing.
const QUIET_MS = 120;

// As Grafana has it: a dashboard that was shown before comes back as the scene that it was, and is
// not asked for again.
const shownBefore = new Map();

export async function startScenes(env, root) {
  window.__grafanaRunningQueryCount ??= 0;
  env.queryStarted = countQuery;
  const known = shownBefore.get(env.uid);
  if (known) {
    known.comeBack(env.left);
    return;
  }
  const loaded = await loadOrExplain(env, root);
  if (!loaded || env.left.aborted) return;
  const { model, meta } = loaded;
  env.setTimes(model);
  writeAddress(env, meta);
  document.title = `${model.title} - Dashboards - Grafana`;
  const board = new Board(env, model, meta, root);
  shownBefore.set(env.uid, board);
  board.begin(env.left);
  await env.variables.load(env.backend, env.settings, env.queryStarted);
  board.showVariables();
  await env.loadAnnotations(model);
  await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  if (env.left.aborted) return;
  board.scene.state.controls.state.refreshPicker.activate();
  board.mount();
  expose(board);
}

function countQuery() {
  let isRunning = true;
  window.__grafanaRunningQueryCount += 1;
  return () => {
    if (isRunning) window.__grafanaRunningQueryCount -= 1;
    isRunning = false;
  };
}

async function loadOrExplain(env, root) {
  try {
    return await env.loadDashboard();
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    document.title = 'Not found - Dashboards - Grafana';
    const box =
      error.status === 404
        ? alert('Dashboard not found', '')
        : alert(
            'Failed to load dashboard',
            `${error.message}. Permissions needed: dashboards:read`,
          );
    root.append(
      navigation('Not found', env.settings.appSubUrl),
      el('div', { class: 'page-message' }, box),
    );
    return null;
  }
}

// The address says what is shown: absolute times as ISO, the zone, every variable.
function writeAddress(env, meta) {
  const search = new URLSearchParams(location.search);
  const iso = (raw, at) => (String(raw).startsWith('now') ? raw : new Date(at).toISOString());
  search.set('from', iso(env.raw.from, env.range.from));
  search.set('to', iso(env.raw.to, env.range.to));
  if (!search.has('timezone')) search.set('timezone', 'browser');
  history.replaceState(
    history.state,
    '',
    `${env.settings.appSubUrl}/d/${env.uid}/${meta.slug ?? '_'}?${search}`,
  );
}

class Board {
  constructor(env, model, meta, root) {
    this.env = env;
    this.model = model;
    this.grid = el('div', { class: 'react-grid-layout' });
    this.controls = el('div', {
      class: 'controls',
      'data-testid': 'data-testid dashboard controls',
    });
    this.cells = new Map();
    this.scene = sceneOf(this, meta);
    const bar = env.isKiosk ? '' : navigation(model.title, env.settings.appSubUrl);
    this.root = root;
    this.parts = [bar, el('main', { class: 'page' }, this.controls, this.grid)];
    this.gridSize = new ResizeObserver(() => this.layout());
  }

  begin(left) {
    this.root.append(...this.parts);
    window.__grafanaSceneContext = this.scene;
    this.scene.activate();
    left.addEventListener('abort', () => this.end());
  }

  end() {
    this.gridSize.disconnect();
    this.scene.state.controls.state.refreshPicker.deactivate();
    for (const cell of this.cells.values()) cell.destroy();
    this.cells.clear();
    this.scene.deactivate();
    window.__grafanaSceneContext = undefined;
  }

  comeBack(left) {
    this.begin(left);
    this.scene.state.controls.state.refreshPicker.activate();
    this.render();
    this.gridSize.observe(this.grid);
  }

  get layoutObject() {
    return this.scene.state.body.state.grid;
  }

  showVariables() {
    const { env } = this;
    const hidden = (name) => ['true', ''].includes(env.search.get(`_dash.${name}`));
    const left = hidden('hideVariables') ? [] : variableBar(env.variables);
    const right = hidden('hideTimePicker') ? [] : [timeChip(env)];
    this.controls.replaceChildren(
      el('div', { class: 'chips' }, left),
      el('div', { class: 'chips' }, right),
    );
    this.scene.state.$variables.setState({ variables: env.variables.list.map(variableObject) });
  }

  mount() {
    for (const item of this.items()) if (item.state.variableName) repeat(item, this);
    this.render();
    this.gridSize.observe(this.grid);
  }

  // What is on the grid now: the panels of a collapsed row are not.
  items() {
    return this.layoutObject.state.children.flatMap((child) =>
      child instanceof Row
        ? [child, ...(child.state.isCollapsed ? [] : child.state.children)]
        : [child],
    );
  }

  render() {
    const wanted = new Set(this.items());
    for (const [item, cell] of this.cells) {
      if (wanted.has(item)) continue;
      cell.destroy();
      this.cells.delete(item);
    }
    for (const item of wanted) {
      if (this.cells.has(item)) continue;
      const cell = item instanceof Row ? new RowCell(item, this) : new ItemCell(item, this);
      this.cells.set(item, cell);
      this.grid.append(cell.element);
    }
    this.layout();
    for (const cell of this.cells.values()) cell.mounted();
  }

  layout() {
    const items = this.items().map((item) => {
      const { x, y, width, height } = item.state;
      return { key: item, x, y, w: width, h: height };
    });
    const { boxes, height, stacked } = arrange(items, this.grid.clientWidth);
    this.grid.style.height = `${height}px`;
    this.grid.classList.toggle('one-column', stacked);
    for (const [item, box] of boxes) place(this.cells.get(item).element, box);
    // Only what moves later glides; the first places are simply there.
    const glide = () => this.grid.classList.add('is-placed');
    if (items.length) requestAnimationFrame(() => requestAnimationFrame(glide));
  }

  refresh() {
    this.env.resolveRange();
    for (const cell of this.cells.values()) cell.refresh();
  }

  get isLazy() {
    return !(this.model.preload || this.env.user.authenticatedBy === 'render');
  }
}

function place(element, { left, top, width, height }) {
  const style = {
    width: `${width}px`,
    height: `${height}px`,
    position: 'absolute',
    transform: `translate(${left}px, ${top}px)`,
  };
  Object.assign(element.style, style);
}

// The tree

function sceneOf(board, meta) {
  const { env, model } = board;
  const refresh = env.search.get('refresh') || model.refresh || '';
  const hasLayers = (model.annotations?.list ?? []).length > 0;
  const grid = new SceneObject({ isLazy: board.isLazy, children: childrenOf(board) });
  return new SceneObject({
    title: model.title,
    uid: model.uid,
    id: model.id,
    meta,
    editable: model.editable ?? true,
    links: [],
    tags: model.tags ?? [],
    preload: model.preload ?? false,
    isDirty: false,
    version: model.version ?? 1,
    $timeRange: new TimeRange(env, () => board.refresh()),
    $variables: new SceneObject({ variables: [] }),
    $data: new SceneObject({
      annotationLayers: [],
      ...(hasLayers ? { data: { state: 'Done', series: [], annotations: [] } } : {}),
    }),
    $behaviors: [],
    body: new SceneObject({ grid }),
    controls: new SceneObject({
      variableControls: [],
      timePicker: new SceneObject({}),
      refreshPicker: new RefreshPicker(refresh, () => board.refresh()),
    }),
  });
}

// Panels after an open row belong to it, those in a collapsed one stand inside it already.
function childrenOf(board) {
  const top = [];
  const rows = new Map();
  for (const { panel, row } of withRows(board.model.panels ?? [])) {
    if (isRow(panel)) {
      const nested = panel.collapsed ? (panel.panels ?? []) : [];
      rows.set(panel, {
        panel,
        inside: unfolded(panel, nested).moved.map((one) => new GridItem(one, board)),
      });
      top.push(rows.get(panel));
    } else if (row && !row.collapsed) rows.get(row).inside.push(new GridItem(panel, board));
    else top.push(new GridItem(panel, board));
  }
  return top.map((child) =>
    child instanceof GridItem ? child : new Row(child.panel, child.inside, board),
  );
}

const variableObject = ({ model, name, value, text, isAll, options, error }) =>
  new Variable({
    type: model.type,
    name,
    label: model.label,
    value: isAll ? ['$__all'] : model.multi ? value : value[0],
    text,
    options: options.map((option) => ({ label: option, value: option })),
    isMulti: Boolean(model.multi),
    includeAll: Boolean(model.includeAll),
    loading: false,
    error,
  });

class Row extends SceneObject {
  constructor(panel, children, board) {
    const { y } = boxOf(panel);
    super({
      key: `panel-${panel.id}`,
      children,
      isCollapsible: true,
      title: panel.title,
      isCollapsed: Boolean(panel.collapsed),
      x: 0,
      y,
      width: 24,
      height: 1,
    });
    this.board = board;
  }

  // Opening makes room below; closing leaves a gap, which the grid closes by itself.
  onCollapseToggle() {
    const { isCollapsed, children, y } = this.state;
    const grid = this.board.layoutObject;
    if (isCollapsed) {
      for (const item of children) if (item.state.variableName) repeat(item, this.board);
      const height = Math.max(0, ...children.map(({ state }) => state.y + state.height - y - 1));
      const after = grid.state.children.slice(grid.state.children.indexOf(this) + 1);
      for (const other of after) moveDown(other, height);
    }
    this.setState({ isCollapsed: !isCollapsed });
    this.board.render();
  }
}

function moveDown(item, by) {
  item.setState({ y: item.state.y + by });
  if (item instanceof Row)
    for (const child of item.state.children) child.setState({ y: child.state.y + by });
}

class GridItem extends SceneObject {
  constructor(panel, board) {
    const { y, h, ...across } = boxOf(panel);
    // Repeats side by side always have the whole width between them.
    const { x, w } = panel.repeat && panel.repeatDirection !== 'v' ? { x: 0, w: 24 } : across;
    const repeats = panel.repeat
      ? {
          variableName: panel.repeat,
          repeatDirection: panel.repeatDirection ?? 'h',
          maxPerRow: panel.maxPerRow,
          repeatedPanels: [],
        }
      : {};
    const body = new VizPanel(panel, board, `panel-${panel.id}`, {});
    super({
      key: `grid-item-${panel.id}`,
      x,
      y,
      width: w,
      height: h,
      itemHeight: h,
      body,
      ...repeats,
    });
    this.panel = panel;
  }

  get panels() {
    return [this.state.body, ...(this.state.repeatedPanels ?? [])];
  }

  get across() {
    const { repeatDirection, maxPerRow } = this.state;
    return repeatDirection === 'v' ? 1 : Math.min(this.panels.length, maxPerRow ?? 4);
  }
}

// All repeats live in the one grid item; it grows, and what stands below it moves down.
function repeat(item, board) {
  const values = board.env.variables.valuesOf(item.state.variableName);
  const [first = '', ...others] = values;
  item.state.body.setScope({ [item.state.variableName]: first });
  const clones = others.map((value, at) => {
    const panel = new VizPanel(item.panel, board, `panel-${item.panel.id}-clone-${at + 1}`, {
      [item.state.variableName]: value,
    });
    panel.setState({ repeatSourceKey: item.state.body.key });
    return panel;
  });
  item.setState({ repeatedPanels: clones });
  const height = item.state.itemHeight * Math.ceil(item.panels.length / item.across);
  const added = height - item.state.height;
  const bottom = item.state.y + item.state.height;
  item.setState({ height });
  if (!added) return;
  for (const other of board.layoutObject.state.children) {
    if (other instanceof Row)
      for (const child of other.state.children) pushBelow(child, item, bottom, added);
    pushBelow(other, item, bottom, added);
  }
}

function pushBelow(other, item, bottom, added) {
  if (other !== item && other.state.y >= bottom) other.setState({ y: other.state.y + added });
}

class QueryRunner extends SceneObject {
  constructor(panel, board) {
    super({
      datasource: panel.datasource,
      queries: panel.targets ?? [],
      maxDataPointsFromWidth: true,
      $behaviors: [],
    });
    this.panel = panel;
    this.board = board;
  }

  runQueries() {
    if (!this.width) return;
    this.run ??= new QueryRun(this.board.env, this.panel, this.scoped, (data) => {
      this.setState({ data, _hasFetchedData: data.state !== 'Loading' });
      this.onData(data);
    });
    this.run.run(this.width);
  }

  deactivated() {
    this.run?.cancel();
  }
}

class Transformer extends SceneObject {
  constructor(panel, board) {
    super({ $data: new QueryRunner(panel, board), transformations: panel.transformations ?? [] });
    this.state.$data.onData = (data) => {
      this.setState({ data: { ...data, series: transform(data.series, panel.transformations) } });
      this.onData(this.state.data);
    };
  }
}

class VizPanel extends SceneObject {
  constructor(panel, board, key, scoped) {
    const takesData = !board.env.settings.panels[panel.type]?.skipDataQuery;
    super({
      key,
      title: panel.title ?? '',
      description: panel.description,
      pluginId: panel.type,
      pluginVersion: board.env.settings.buildInfo.version,
      options: panel.options ?? {},
      fieldConfig: panel.fieldConfig ?? { defaults: {}, overrides: [] },
      $behaviors: [],
      ...(takesData ? { $data: new Transformer(panel, board) } : {}),
    });
    this.panel = panel;
    this.board = board;
    this.setScope(scoped);
  }

  setScope(scoped) {
    this.scoped = scoped;
    const [[name, value] = []] = Object.entries(scoped);
    if (name)
      this.setState({
        $variables: new SceneObject({
          variables: [new Variable({ type: 'system', name, value, text: value })],
        }),
      });
  }

  getPlugin() {
    return this._plugin;
  }

  getPathId() {
    const { $variables, key } = this.state;
    const scope = $variables ? `${$variables.state.variables[0].state.value}$` : '';
    return scope + key.replace(/-clone-\d+$/, '');
  }

  interpolate(text) {
    return this.board.env.variables.interpolate(text, this.scoped);
  }

  onTimeRangeChange() {}

  applyFieldConfig(data) {
    if (!this._plugin || this._plugin.meta.skipDataQuery || !data)
      return { state: 'Done', series: [], errors: [] };
    const withoutTransformations = { ...this.panel, transformations: [] };
    return {
      ...data,
      series: configured(this.board.env, withoutTransformations, data.series, this.scoped),
    };
  }

  async loadPlugin() {
    const { settings } = this.board.env;
    if (known(this.panel.type, settings)) this._plugin = await load(this.panel.type, settings);
    else this.setState({ _pluginLoadError: `Plugin ${this.panel.type} not found` });
  }
}

// The page

const ITEM = 'react-grid-item react-draggable cssTransforms react-resizable-hide react-resizable';

class RowCell {
  constructor(row, board) {
    this.row = row;
    const title = board.env.variables.interpolate(row.state.title ?? '');
    this.count = el('span', { class: 'row-count' });
    this.button = el(
      'button',
      {
        type: 'button',
        class: 'row-title',
        'data-testid': `data-testid dashboard-row-title-${title}`,
        onclick: () => row.onCollapseToggle(),
      },
      el('span', { class: 'row-arrow', 'aria-hidden': 'true' }),
      el('span', { role: 'heading', 'aria-level': '3' }, title),
      this.count,
    );
    this.title = title;
    const look = 'react-grid-item cssTransforms react-resizable-hide react-resizable';
    this.element = el('div', { class: look, 'data-griditem-key': row.key }, this.button);
  }

  mounted() {
    const { isCollapsed, children } = this.row.state;
    this.row.activate();
    this.button.setAttribute('aria-expanded', String(!isCollapsed));
    this.button.setAttribute(
      'aria-label',
      isCollapsed ? `Expand row with title ${this.title}` : 'Collapse row',
    );
    this.element.classList.toggle('row-collapsed', isCollapsed);
    this.count.textContent = isCollapsed ? `(${children.length} panels)` : '';
  }

  refresh() {}

  destroy() {
    this.row.deactivate();
    this.element.remove();
  }
}

class ItemCell {
  constructor(item, board) {
    this.item = item;
    this.cells = item.panels.map((panel) => new PanelCell(panel, board));
    const inner = el(
      'div',
      {
        class: 'repeats',
        style: {
          gridTemplateColumns: `repeat(${item.across}, 1fr)`,
          gridAutoRows: `${item.state.itemHeight * (ROW + GAP) - GAP}px`,
        },
      },
      this.cells.map(({ element }) => element),
    );
    const content = this.cells.length > 1 ? inner : this.cells[0].element;
    this.element = el('div', { class: ITEM, 'data-griditem-key': item.key }, content);
  }

  mounted() {
    this.item.activate();
    for (const cell of this.cells) cell.mounted();
  }

  refresh() {
    for (const cell of this.cells) cell.refresh();
  }

  destroy() {
    for (const cell of this.cells) cell.destroy();
    this.item.deactivate();
    this.element.remove();
  }
}

class PanelCell {
  constructor(viz, board) {
    this.viz = viz;
    this.board = board;
    this.element = el('div', { 'data-viz-panel-key': viz.key, class: 'panel-slot' });
    this.isMounted = false;
  }

  mounted() {
    if (this.isMounted) return;
    this.isMounted = true;
    if (this.board.isLazy) whenNear(this.element, () => this.start());
    else this.start();
  }

  start() {
    const { viz, board } = this;
    this.chrome = chromeOf(viz.interpolate(viz.state.title));
    this.element.append(this.chrome.element);
    this.view = new View(board.env, viz.panel, viz.scoped, this.chrome.content);
    const transformer = viz.state.$data;
    if (transformer) transformer.onData = (data) => this.onData(data);
    viz.activate();
    viz.loadPlugin().then(() => this.show());
    this.refresh();
  }

  refresh() {
    const runner = this.viz.state.$data?.state.$data;
    if (!runner || !this.view) return;
    runner.scoped = this.viz.scoped;
    runner.width = this.chrome.content.clientWidth;
    runner.runQueries();
  }

  onData(data) {
    this.chrome.setLoading(data.state === 'Loading');
    this.show();
  }

  show() {
    const { _pluginLoadError: lost, $data } = this.viz.state;
    const data = $data?.state.data;
    this.chrome.setError(lost ?? data?.error?.message);
    if (lost) this.chrome.content.replaceChildren(el('div', { class: 'panel-empty' }, lost));
    else if (this.viz.getPlugin() && (!$data || (data && data.state !== 'Loading'))) {
      const raw = $data?.state.$data.state.data.series ?? [];
      this.view.draw(this.viz.getPlugin(), raw);
    }
  }

  destroy() {
    forget(this.element);
    this.viz.deactivate();
    this.view?.destroy();
    this.view = null;
  }
}

let headings = 0;

function chromeOf(title) {
  headings += 1;
  const id = `_r${headings.toString(36)}_`;
  const content = el('div', { class: 'panel-content', 'data-testid': 'data-testid panel content' });
  const bar = el(
    'div',
    { class: 'loading-bar', 'aria-label': 'Panel loading bar' },
    el('span', {}),
  );
  const status = el(
    'button',
    {
      type: 'button',
      class: 'status',
      'aria-label': 'Panel status',
      'data-testid': 'data-testid Panel status error',
    },
    '!',
  );
  const header = el(
    'div',
    { class: 'panel-header', 'data-testid': 'data-testid header-container' },
    el('h2', { id, title }, title),
    el('div', { class: 'title-items', 'data-testid': 'title-items-container' }),
    el(
      'button',
      {
        type: 'button',
        class: 'menu',
        'aria-label': `Menu for panel ${title}`,
        'data-testid': `data-testid Panel menu ${title}`,
      },
      '⋮',
    ),
  );
  const look = title ? 'panel-container' : 'panel-container panel-container--no-title';
  const element = el(
    'section',
    { class: look, 'aria-labelledby': id, 'data-testid': `data-testid Panel header ${title}` },
    header,
    content,
  );
  return {
    element,
    content,
    setLoading: (on) => (on ? element.prepend(bar) : bar.remove()),
    setError: (message) => {
      status.title = message ?? '';
      if (message) header.querySelector('h2').after(status);
      else status.remove();
    },
  };
}

function expose(board) {
  window.grafanaRuntime = {
    getDashboardSaveModel: () => structuredClone(board.model),
    getDashboardTimeRange: () => ({
      from: board.env.range.from,
      to: board.env.range.to,
      raw: board.env.raw,
    }),
  };
}
