// Bar gauge: one bar per value, names to the left.

import { alpha } from '../colors.js';
import { el } from '../dom.js';
import { reduce, reducedValues, shown } from '../frames.js';

export function draw(host, context) {
  const values = reducedValues(context.series, context.options);
  const config = values[0]?.field.config ?? {};
  const high =
    config.max ??
    reduce(
      values.map(({ value }) => value),
      'max',
    ) ??
    1;
  const low = config.min ?? 0;
  host.append(
    el(
      'div',
      { class: 'bars' },
      values.map((value) => bar(value, low, high, context)),
    ),
  );
}

function bar({ title, value, display }, low, high, { theme }) {
  const share = Math.min(Math.max(((value ?? low) - low) / (high - low || 1), 0), 1);
  const fill = `linear-gradient(90deg, ${alpha(display.color, 0.65)}, ${display.color})`;
  return el(
    'div',
    { class: 'bar' },
    el('span', { class: 'bar-name', title }, title),
    el(
      'span',
      { class: 'bar-track', style: { background: theme.track } },
      el('span', {
        class: 'bar-fill',
        style: { width: `${(share * 100).toFixed(2)}%`, background: fill },
      }),
    ),
    el('span', { class: 'bar-value' }, shown(display)),
  );
}
