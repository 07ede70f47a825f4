// Panel plugins, loaded when the first panel of a type is shown.

const MODULES = {
  timeseries: () => import('./viz/timeseries.js'),
  graph: () => import('./viz/timeseries.js'),
  stat: () => import('./viz/stat.js'),
  gauge: () => import('./viz/gauge.js'),
  bargauge: () => import('./viz/bargauge.js'),
  table: () => import('./viz/table.js'),
  'table-old': () => import('./viz/table.js'),
  text: () => import('./viz/text.js'),
  piechart: () => import('./viz/piechart.js'),
  heatmap: () => import('./viz/heatmap.js'),
  // Somebody else's: from where Grafana serves what was installed.
  'acme-clock-panel': () =>
    import(new URL('public/plugins/acme-clock-panel/module.js', document.baseURI)),
};

export const known = (type, settings) => Boolean(settings.panels[type] && MODULES[type]);

export async function load(type, settings) {
  const { draw } = await MODULES[type]();
  return { meta: settings.panels[type], draw };
}

export const isAngular = (type, settings) => Boolean(settings.panels[type]?.angular?.detected);
