// Time series: a canvas by uPlot, a legend of real text.

import { alpha, color, fieldColor } from '../colors.js';
import { el } from '../dom.js';
import { reduce, shown } from '../frames.js';
import { formatTick } from '../time.js';

export function draw(host, context) {
  const fields = context.series.flatMap((frame) => numberFields(frame));
  const legend = legendOf(fields, context);
  const plot = el('div', { class: 'plot', 'data-testid': 'uplot-main-div' });
  const beside = context.options.legend?.placement === 'right';
  host.append(el('div', { class: beside ? 'viz viz-row' : 'viz viz-column' }, plot, legend));
  const size = sizeOf(context, legend, beside);
  const chart = new window.uPlot(chartOptions(fields, size, context), dataOf(fields), plot);
  return () => chart.destroy();
}

function numberFields(frame) {
  const time = frame.fields.find((field) => field.type === 'time');
  if (!time) return [];
  return frame.fields
    .filter((field) => field.type === 'number' && !field.config.custom?.hideFrom?.viz)
    .map((field) => ({ field, times: time.values, tint: tintOf(field) }));
}

function tintOf(field) {
  const last = reduce(field.values);
  const mode = field.config.color?.mode ?? 'palette-classic';
  const config = { ...field.config, color: { ...field.config.color, mode } };
  return (isLight) => fieldColor(config, last, field.state.seriesIndex, isLight);
}

// All series on one time axis; a moment that a series does not have is a gap in it.
function dataOf(fields) {
  if (!fields.length) return [[], []];
  const first = fields[0].times;
  if (fields.every(({ times }) => times.length === first.length && times[0] === first[0])) {
    return [first.map((at) => at / 1000), ...stacked(fields)];
  }
  return window.uPlot.join(
    fields.map(({ times, field }) => [times.map((at) => at / 1000), field.values]),
  );
}

function stacked(fields) {
  const sums = new Map();
  return fields.map(({ field }) => {
    const { mode, group = 'A' } = field.config.custom?.stacking ?? {};
    if (mode !== 'normal') return field.values;
    const below = sums.get(group);
    const values = below ? field.values.map((value, at) => (value ?? 0) + below[at]) : field.values;
    sums.set(group, values);
    return values;
  });
}

function chartOptions(fields, { width, height }, context) {
  const { theme, range, zone, options } = context;
  const config = fields[0]?.field.config ?? {};
  const isStacked = config.custom?.stacking?.mode === 'normal';
  return {
    width,
    height,
    padding: [8, 18, 0, 0],
    cursor: { show: Boolean(options.tooltip) },
    legend: { show: false },
    scales: {
      x: {
        time: true,
        min: range.from / 1000,
        max: range.to / 1000,
        range: [range.from / 1000, range.to / 1000],
      },
      y: { range: (chart, low, high) => valueRange(low, high, config) },
    },
    axes: [timeAxis(theme, range, zone), valueAxis(theme, fields[0]?.field, config)],
    series: [{}, ...fields.map(({ field, tint }) => lineOf(field, tint(theme.isLight), isStacked))],
    bands: isStacked ? fields.slice(1).map((_, index) => ({ series: [index + 2, index + 1] })) : [],
    hooks: { draw: [(chart) => drawMarks(chart, context, config)] },
  };
}

function valueRange(low, high, config) {
  if (low === null || low === undefined) return [config.min ?? 0, config.max ?? 1];
  const from = Math.min(low, config.custom?.axisSoftMin ?? low);
  const to = Math.max(high, config.custom?.axisSoftMax ?? high);
  const [start, end] = window.uPlot.rangeNum(from, to, 0.08, true);
  return [config.min ?? start, config.max ?? end];
}

function timeAxis(theme, range, zone) {
  return {
    stroke: theme.weak,
    font: '11px sans-serif',
    size: 26,
    space: 74,
    gap: 4,
    grid: { stroke: theme.grid, width: 1 },
    ticks: { stroke: theme.grid, width: 1, size: 4 },
    values: (chart, splits, axis, space, step) =>
      splits.map((at) => formatTick(at * 1000, zone, range.to - range.from, step * 1000)),
  };
}

function valueAxis(theme, field, config) {
  return {
    stroke: theme.weak,
    font: '11px sans-serif',
    space: 34,
    gap: 6,
    size: (chart, values) => 18 + Math.max(14, ...(values ?? []).map((text) => text.length * 6.2)),
    label: config.custom?.axisLabel || undefined,
    labelSize: 18,
    labelFont: '11px sans-serif',
    grid: { stroke: theme.grid, width: 1 },
    ticks: { show: false },
    values: (chart, splits) => splits.map((at) => (field ? shown(field.display(at)) : String(at))),
  };
}

function lineOf(field, tint, isStacked) {
  const custom = field.config.custom ?? {};
  const fill = (custom.fillOpacity ?? 0) / 100;
  const paths = window.uPlot.paths;
  const kinds = {
    bars: () => paths.bars({ size: [0.7, 40, 1] }),
    smooth: () => paths.spline(),
    stepAfter: () => paths.stepped({ align: 1 }),
  };
  const kind = custom.drawStyle === 'bars' ? 'bars' : custom.lineInterpolation;
  return {
    label: field.state.displayName,
    stroke: tint,
    width: custom.lineWidth ?? 1.5,
    dash: custom.lineStyle?.fill === 'dash' ? [6, 5] : undefined,
    fill: fillOf(tint, fill, custom.gradientMode === 'opacity' && !isStacked),
    paths: kinds[kind]?.(),
    points: { show: custom.showPoints === 'always' || custom.drawStyle === 'points' },
    spanGaps: Boolean(custom.spanNulls),
  };
}

function fillOf(tint, share, fades) {
  if (!share) return undefined;
  if (!fades) return alpha(tint, share);
  return (chart) => {
    const { top, height } = chart.bbox;
    if (!height) return alpha(tint, share);
    const gradient = chart.ctx.createLinearGradient(0, top, 0, top + height);
    gradient.addColorStop(0, alpha(tint, share * 1.6));
    gradient.addColorStop(1, alpha(tint, 0.02));
    return gradient;
  };
}

// Annotations as upright dashes, thresholds as level ones where the panel asks for them.
function drawMarks(chart, { annotations, theme }, config) {
  const { ctx, bbox } = chart;
  const ratio = window.devicePixelRatio;
  ctx.save();
  ctx.lineWidth = ratio;
  ctx.setLineDash([4 * ratio, 4 * ratio]);
  for (const { time } of annotations) {
    const left = Math.round(chart.valToPos(time / 1000, 'x', true));
    if (left >= bbox.left && left <= bbox.left + bbox.width) {
      stroke(ctx, alpha('#1fa5b8', 0.9), left, bbox.top, left, bbox.top + bbox.height);
    }
  }
  if (config.custom?.thresholdsStyle?.mode?.startsWith('line')) {
    for (const step of config.thresholds?.steps ?? []) {
      if (step.value === null) continue;
      const top = Math.round(chart.valToPos(step.value, 'y', true));
      if (top < bbox.top || top > bbox.top + bbox.height) continue;
      stroke(ctx, color(step.color, theme.isLight), bbox.left, top, bbox.left + bbox.width, top);
    }
  }
  ctx.restore();
}

function stroke(ctx, style, fromX, fromY, toX, toY) {
  ctx.strokeStyle = style;
  ctx.beginPath();
  ctx.moveTo(fromX, fromY);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}

// The legend is in the document already; what it leaves is the plot's.
function sizeOf({ width, height }, legend, beside) {
  if (!legend) return { width, height };
  return beside
    ? { width: Math.max(width - legend.offsetWidth, 40), height }
    : { width, height: Math.max(height - legend.offsetHeight - 2, 30) };
}

function legendOf(fields, { options, theme }) {
  const { showLegend = true, displayMode = 'list', calcs = [] } = options.legend ?? {};
  if (!showLegend || displayMode === 'hidden' || !fields.length) return null;
  const items = fields.map(({ field, tint }) => ({
    name: field.state.displayName,
    tint: tint(theme.isLight),
    calcs: calcs.map((how) => shown(field.display(reduce(field.values, how)))),
  }));
  return displayMode === 'table' ? legendTable(items, calcs) : legendList(items, calcs);
}

function legendList(items, calcs) {
  return el(
    'ul',
    { class: 'legend legend-list' },
    items.map((item) =>
      el(
        'li',
        { 'data-testid': `data-testid VizLegend series ${item.name}` },
        el('span', { class: 'swatch', style: { background: item.tint } }),
        el('span', {}, item.name),
        item.calcs.map((text, at) => el('span', { class: 'calc' }, `${title(calcs[at])}: ${text}`)),
      ),
    ),
  );
}

function legendTable(items, calcs) {
  const head = el(
    'tr',
    {},
    el('th', {}, 'Name'),
    calcs.map((how) => el('th', { class: 'number' }, title(how))),
  );
  const rows = items.map((item) =>
    el(
      'tr',
      { 'data-testid': `data-testid VizLegend series ${item.name}` },
      el('td', {}, el('span', { class: 'swatch', style: { background: item.tint } }), item.name),
      item.calcs.map((text) => el('td', { class: 'number' }, text)),
    ),
  );
  return el(
    'div',
    { class: 'legend' },
    el('table', {}, el('thead', {}, head), el('tbody', {}, rows)),
  );
}

const title = (how) =>
  ({ lastNotNull: 'Last', mean: 'Mean', max: 'Max', min: 'Min', sum: 'Total' })[how] ?? how;
