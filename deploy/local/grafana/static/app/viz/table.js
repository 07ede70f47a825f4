// Table: a scroller inside the panel, every row in the document, cells of selectable text.

import { alpha } from '../colors.js';
import { el } from '../dom.js';
import { shown } from '../frames.js';

export function draw(host, { series, options, theme }) {
  const frame = series[options.frameIndex ?? 0];
  const fields = (frame?.fields ?? []).filter(
    ({ config }) => !config.custom?.hidden && !config.custom?.hideFrom?.viz,
  );
  const order = rowOrder(fields, frame?.length ?? 0, options.sortBy?.[0]);
  const head = fields.map((field) => heading(field, options.sortBy?.[0]));
  const body = order.map((row) =>
    el(
      'div',
      { role: 'row', class: 'tr' },
      fields.map((field) => cell(field, row, theme)),
    ),
  );
  const columns = fields.map(widthOf).join(' ');
  host.append(
    el(
      'div',
      { class: 'table', role: 'table', style: `--columns: ${columns}` },
      el(
        'div',
        { role: 'rowgroup', class: 'thead' },
        el('div', { role: 'row', class: 'tr' }, head),
      ),
      el('div', { role: 'rowgroup', class: 'tbody' }, body),
    ),
  );
}

function rowOrder(fields, length, sortBy) {
  const rows = Array.from({ length }, (_, row) => row);
  const field = sortBy && fields.find(({ state }) => state.displayName === sortBy.displayName);
  if (!field) return rows;
  const sign = sortBy.desc ? -1 : 1;
  return rows.sort((one, other) => sign * compare(field.values[one], field.values[other]));
}

function compare(one, other) {
  if (one === other) return 0;
  if (one === null || one === undefined) return -1;
  if (other === null || other === undefined) return 1;
  return one < other ? -1 : 1;
}

function heading({ state, type, config }, sortBy) {
  const arrow = sortBy?.displayName === state.displayName ? (sortBy.desc ? ' ↓' : ' ↑') : '';
  return el(
    'div',
    { role: 'columnheader', class: aligned(type, config) },
    state.displayName,
    arrow ? el('span', { 'aria-hidden': 'true' }, arrow) : null,
  );
}

function cell(field, row, theme) {
  const value = field.values[row];
  const display = field.display(value);
  const kind = field.config.custom?.cellOptions?.type;
  const place = { role: 'cell', class: aligned(field.type, field.config) };
  if (value === null || value === undefined) return el('div', place, display.text);
  if (kind === 'color-text')
    return el('div', { ...place, style: { color: display.color } }, shown(display));
  if (kind === 'color-background')
    return el('div', place, el('span', { class: 'tag', style: tagStyle(display) }, shown(display)));
  if (kind === 'gauge')
    return el(
      'div',
      { ...place, class: 'cell-gauge' },
      meter(display, theme),
      el('span', {}, shown(display)),
    );
  return el('div', place, shown(display));
}

const tagStyle = ({ color }) => ({ color, background: alpha(color, 0.16) });

function meter({ percent, color }, theme) {
  const fill = el('span', {
    class: 'bar-fill',
    style: { width: `${Math.min(Math.max(percent, 0), 1) * 100}%`, background: color },
  });
  return el('span', { class: 'bar-track', style: { background: theme.track } }, fill);
}

function aligned(type, config) {
  const align = config.custom?.align;
  return align === 'right' || (align !== 'left' && align !== 'center' && type === 'number')
    ? 'number'
    : align === 'center'
      ? 'center'
      : '';
}

function widthOf({ config, type }) {
  if (config.custom?.width) return `${config.custom.width}px`;
  return type === 'time' ? 'minmax(146px, 1fr)' : 'minmax(72px, 1fr)';
}
