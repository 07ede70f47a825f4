// Pie and donut: slices in SVG, shares in the legend.

import { PALETTE } from '../colors.js';
import { el, svg } from '../dom.js';
import { reducedValues, shown } from '../frames.js';

export function draw(host, context) {
  const { width, height, options, theme } = context;
  const values = reducedValues(context.series, options).filter(({ value }) => value > 0);
  const total = values.reduce((sum, { value }) => sum + value, 0);
  const beside = options.legend?.placement !== 'bottom' && width > 260;
  const size = Math.max(Math.min(height - 8, beside ? width * 0.44 : width) - 4, 40);
  host.append(
    el(
      'div',
      { class: beside ? 'pie pie-beside' : 'pie' },
      pie(values, total, size, options, theme),
      legendOf(values, total),
    ),
  );
}

function pie(values, total, size, options, theme) {
  const hole = options.pieType === 'donut' ? 58 : 0;
  let from = -Math.PI / 2;
  const slices = values.map(({ value, title }, at) => {
    const to = from + (value / total) * 2 * Math.PI;
    const path = slice(from, Math.min(to, from + 2 * Math.PI - 0.0001), hole);
    from = to;
    const look = {
      d: path,
      fill: PALETTE[at % PALETTE.length],
      stroke: theme.panel,
      'stroke-width': 1.5,
    };
    return svg('path', look, svg('title', {}, title));
  });
  return svg(
    'svg',
    { viewBox: '-100 -100 200 200', width: size, height: size, role: 'img' },
    slices,
  );
}

function slice(from, to, hole) {
  const point = (radius, angle) =>
    `${(radius * Math.cos(angle)).toFixed(2)} ${(radius * Math.sin(angle)).toFixed(2)}`;
  const large = to - from > Math.PI ? 1 : 0;
  const outer = `M ${point(96, from)} A 96 96 0 ${large} 1 ${point(96, to)}`;
  if (!hole) return `${outer} L 0 0 Z`;
  return `${outer} L ${point(hole, to)} A ${hole} ${hole} 0 ${large} 0 ${point(hole, from)} Z`;
}

function legendOf(values, total) {
  return el(
    'ul',
    { class: 'legend pie-legend' },
    values.map(({ title, value, display }, at) =>
      el(
        'li',
        { 'data-testid': `data-testid VizLegend series ${title}` },
        el('span', { class: 'swatch', style: { background: PALETTE[at % PALETTE.length] } }),
        el('span', { class: 'pie-name' }, title),
        el('span', { class: 'calc' }, shown(display)),
        el('span', { class: 'calc' }, `${Math.round((value / total) * 100)}%`),
      ),
    ),
  );
}
