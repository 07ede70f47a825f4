// Stat: a big number, and its past as a line behind it.

import { alpha } from '../colors.js';
import { el, svg } from '../dom.js';
import { reducedValues } from '../frames.js';

export function draw(host, context) {
  const { width, height, options } = context;
  const values = reducedValues(context.series, options);
  const across =
    options.orientation === 'horizontal' ? 1 : columnsFor(values.length, width, height);
  const rows = Math.ceil(values.length / across);
  const cell = { width: width / across, height: height / rows };
  const tiles = values.map((value) => tile(value, cell, context, values.length > 1));
  host.append(
    el('div', { class: 'stats', style: { gridTemplateColumns: `repeat(${across}, 1fr)` } }, tiles),
  );
}

function columnsFor(count, width, height) {
  return width > height * 1.2 ? Math.min(count, Math.max(1, Math.floor(width / 110))) : 1;
}

function tile({ display, title, trend }, cell, { options, theme }, named) {
  const solid = options.colorMode === 'background';
  const hasTrend = trend && options.graphMode !== 'none';
  const textColor = solid ? '#ffffff' : display.color;
  const room = cell.height * (hasTrend ? 0.5 : 0.72);
  const chars = `${display.prefix ?? ''}${display.text}${(display.suffix ?? '').slice(0, 4)}`
    .length;
  const size = Math.max(
    14,
    Math.min(room * 0.78, (cell.width * 0.86) / Math.max(chars * 0.6, 1.4), 58),
  );
  return el(
    'div',
    {
      class: 'stat',
      style: { background: solid ? display.color : 'transparent', color: textColor },
    },
    hasTrend ? sparkline(trend, cell, solid ? '#ffffff' : display.color) : null,
    named || options.textMode === 'value_and_name'
      ? el('div', { class: 'stat-name', style: nameStyle(solid, theme) }, title)
      : null,
    el(
      'div',
      { class: 'stat-value', style: { fontSize: `${size}px` } },
      display.prefix ? el('span', { class: 'unit' }, display.prefix) : null,
      el('span', {}, display.text),
      display.suffix ? el('span', { class: 'unit' }, display.suffix) : null,
    ),
  );
}

const nameStyle = (solid, theme) => ({ color: solid ? '#ffffff' : theme.weak });

function sparkline([times, values], { width, height }, tint) {
  const high = Math.max(...values);
  const low = Math.min(...values);
  const band = height * 0.42;
  const points = values.map((value, at) => {
    const x = ((times[at] - times[0]) / (times.at(-1) - times[0] || 1)) * width;
    return `${x.toFixed(1)},${(height - ((value - low) / (high - low || 1)) * band - 2).toFixed(1)}`;
  });
  return svg(
    'svg',
    {
      class: 'spark',
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    },
    svg('polygon', {
      points: `0,${height} ${points.join(' ')} ${width},${height}`,
      fill: alpha(tint, 0.14),
    }),
    svg('polyline', { points: points.join(' '), fill: 'none', stroke: tint, 'stroke-width': 1.5 }),
  );
}
