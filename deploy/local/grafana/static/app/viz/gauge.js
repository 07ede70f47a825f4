// Gauge: an arc per value, thresholds as a thin ring around it.

import { color } from '../colors.js';
import { el, svg } from '../dom.js';
import { reducedValues, shown } from '../frames.js';

const SWEEP = (240 * Math.PI) / 180;
const START = (150 * Math.PI) / 180;

export function draw(host, context) {
  const values = reducedValues(context.series, context.options);
  const across = Math.max(1, Math.min(values.length, Math.floor(context.width / 120) || 1));
  const cell = {
    width: context.width / across,
    height: context.height / Math.ceil(values.length / across),
  };
  const dials = values.map((value) => dial(value, cell, context, values.length > 1));
  host.append(
    el('div', { class: 'gauges', style: { gridTemplateColumns: `repeat(${across}, 1fr)` } }, dials),
  );
}

function dial({ field, value, display, title }, cell, { theme, options }, named) {
  const { min = 0, max = 100 } = field.config;
  const share = Math.min(Math.max(((value ?? min) - min) / (max - min), 0), 1);
  const size = Math.max(Math.min(cell.width, cell.height * 1.18) - 12, 40);
  return el(
    'div',
    { class: 'gauge' },
    svg(
      'svg',
      {
        viewBox: '0 0 200 176',
        style: `width:${size}px;max-height:100%`,
        role: 'img',
        'aria-label': `${title} ${shown(display)}`,
      },
      arc(100, 104, 78, 0, 1, theme.track, 22),
      arc(100, 104, 78, 0, share, display.color, 22),
      options.showThresholdMarkers === false ? null : thresholdRing(field.config, min, max, theme),
      svg(
        'text',
        { x: 100, y: 116, 'text-anchor': 'middle', class: 'gauge-value', fill: display.color },
        shown(display),
      ),
      named || options.showName
        ? svg(
            'text',
            { x: 100, y: 160, 'text-anchor': 'middle', class: 'gauge-name', fill: theme.text },
            title,
          )
        : null,
    ),
  );
}

function thresholdRing(config, min, max, theme) {
  const steps = config.thresholds?.steps ?? [];
  const place = (value) => Math.min(Math.max((value - min) / (max - min), 0), 1);
  return steps.map((step, at) => {
    const from = step.value === null || step.value === undefined ? 0 : place(step.value);
    const to = at + 1 < steps.length ? place(steps[at + 1].value) : 1;
    return arc(100, 104, 95, from, to, color(step.color, theme.isLight), 4);
  });
}

function arc(x, y, radius, from, to, stroke, width) {
  const [start, end] = [START + SWEEP * from, START + SWEEP * Math.max(to, from + 0.001)];
  const point = (angle) =>
    `${(x + radius * Math.cos(angle)).toFixed(2)} ${(y + radius * Math.sin(angle)).toFixed(2)}`;
  const large = end - start > Math.PI ? 1 : 0;
  const path = `M ${point(start)} A ${radius} ${radius} 0 ${large} 1 ${point(end)}`;
  return svg('path', { d: path, fill: 'none', stroke, 'stroke-width': width });
}
