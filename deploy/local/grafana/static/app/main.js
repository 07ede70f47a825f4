// The page's start: boot data, the dashboard's model, its variables and time range; then one of the
// two front-ends. Going to another address within the page works as in Grafana: what was shown ends,
// and what is at the new address begins.

import { Backend, HttpError } from './api.js';
import { el } from './dom.js';
import { startLegacy } from './legacy.js';
import { startScenes } from './scenes.js';
import { listOfDashboards, navigation } from './shell.js';
import { namedZone, parseBound } from './time.js';
import { Variables } from './variables.js';

window.__grafana_app_bundle_loaded = true;

async function start() {
  const { user, settings } = window.grafanaBootData;
  const root = document.getElementById('reactRoot');
  document.getElementById('preloader').remove();
  for (const plugin of [...Object.values(settings.apps), ...settings.pluginsToPreload])
    preload(plugin);
  if (settings.liveEnabled) openLive(1000);
  const common = { user, settings, backend: new Backend(settings, user) };
  let uid = uidOfAddress();
  let visit = new AbortController();
  addEventListener('popstate', () => {
    // The same dashboard with another range would follow it; that is left out here.
    if (uid && uid === uidOfAddress()) return;
    uid = uidOfAddress();
    visit.abort();
    root.replaceChildren();
    visit = new AbortController();
    show(common, root, uid, visit.signal);
  });
  await show(common, root, uid, visit.signal);
}

function uidOfAddress() {
  const uid = /\/d\/([^/]+)/.exec(location.pathname)?.[1];
  return uid && decodeURIComponent(uid);
}

// `left` is the signal that the address is left for another one.
async function show({ user, settings, backend }, root, uid, left) {
  if (uid) {
    const env = environment({ user, settings, backend, uid, left });
    await (env.isScenes ? startScenes(env, root) : startLegacy(env, root));
  } else if (/\/(dashboards)?$/.test(location.pathname)) {
    const list = await listOfDashboards(backend, settings.appSubUrl);
    if (!left.aborted) root.append(navigation('All', settings.appSubUrl), list);
  } else {
    document.title = 'Grafana';
    root.append(el('main', { class: 'page-message' }, el('h1', {}, 'Page not found')));
  }
}

function environment({ user, settings, backend, uid, left }) {
  const search = new URLSearchParams(location.search);
  return {
    user,
    settings,
    backend,
    uid,
    left,
    search,
    isScenes: !settings.buildInfo.version.startsWith('9.'),
    isLight: document.body.classList.contains('theme-light'),
    isKiosk: ['1', 'true', ''].includes(search.get('kiosk')),
    annotations: [],
    queryStarted: () => () => {},
    loadDashboard,
    loadAnnotations,
    setTimes,
  };
}

// A newer server hands out dashboards under /apis; the model then lies under `spec`.
async function loadDashboard() {
  const { featureToggles } = this.settings;
  if (featureToggles.kubernetesDashboards.includes(this.uid)) {
    const path = `apis/dashboard.grafana.app/v1beta1/namespaces/default/dashboards/${this.uid}/dto`;
    const { spec, metadata, access } = await this.backend.get(path);
    return { model: { ...spec, uid: metadata.name }, meta: access };
  }
  const { dashboard, meta } = await this.backend.get(`api/dashboards/uid/${this.uid}`);
  return { model: dashboard, meta };
}

// Range, zone and variables, from the address first and then from the model.
function setTimes(model) {
  const { search, isScenes, user } = this;
  const asked = isScenes ? search.get('timezone') : null;
  this.zone = namedZone(asked ?? (model.timezone || user.timezone));
  const now = Date.now();
  const context = { now, zone: this.zone, iso: isScenes };
  const pick = (key, end) => {
    const given = search.get(key);
    if (parseBound(given, { ...context, end }) !== null) return given;
    return model.time?.[key] ?? (end ? 'now' : 'now-6h');
  };
  this.raw = { from: pick('from', false), to: pick('to', true) };
  this.resolveRange = () => {
    const clock = { ...context, now: Date.now() };
    const from = parseBound(this.raw.from, { ...clock, end: false });
    const to = parseBound(this.raw.to, { ...clock, end: true });
    this.range = { from, to };
    this.timeRange = { from: new Date(from), to: new Date(to), raw: this.raw };
  };
  this.resolveRange();
  const builtIn = {
    __from: String(this.range.from),
    __to: String(this.range.to),
    __dashboard: model.title,
    __interval: '1m',
  };
  this.variables = new Variables(model.templating?.list ?? [], search, builtIn);
}

async function loadAnnotations(model) {
  const wanted = (model.annotations?.list ?? []).filter(({ enable }) => enable);
  if (!wanted.length) return;
  const finished = this.queryStarted();
  const { from, to } = this.range;
  const asked = new URLSearchParams({
    from,
    to,
    limit: '100',
    type: 'dashboard',
    dashboardUID: this.uid,
  });
  try {
    this.annotations = await this.backend.get(`api/annotations?${asked}`);
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
  } finally {
    finished();
  }
}

function preload({ preload: wanted = true, path }) {
  if (wanted) import(new URL(path, document.baseURI)).catch(() => {});
}

// Grafana's live connection: no header reaches it, so a token never opens it, and it tries again
// for ever.
function openLive(wait) {
  const address = new URL('api/live/ws', document.baseURI);
  address.protocol = 'ws:';
  const live = new WebSocket(address);
  live.addEventListener('close', () =>
    setTimeout(() => openLive(Math.min(wait * 2, 20_000)), wait),
  );
}

start().catch((error) => {
  document.body.append(
    el('div', { class: 'preloader preloader--done' }, 'The stand-in failed to load its page.'),
  );
  throw error;
});
