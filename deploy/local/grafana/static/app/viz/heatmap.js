// Heatmap: cells on a canvas, axes of text beside it.

import { el } from '../dom.js';
import { formatTick } from '../time.js';

const STOPS = [
  [59, 130, 214],
  [47, 163, 107],
  [212, 176, 33],
  [214, 81, 69],
];

export function draw(host, { series, width, height, theme, zone, range }) {
  const frame = series[0];
  const times = frame?.fields.find((field) => field.type === 'time')?.values ?? [];
  const rows = (frame?.fields ?? []).filter((field) => field.type === 'number');
  const [left, bottom] = [54, 22];
  const area = { width: Math.max(width - left - 8, 10), height: Math.max(height - bottom - 6, 10) };
  const canvas = el('canvas', {
    class: 'heat',
    style: { width: `${area.width}px`, height: `${area.height}px` },
  });
  paint(canvas, area, times, rows, theme);
  host.append(
    el(
      'div',
      {
        class: 'heatmap',
        style: { gridTemplateColumns: `${left}px 1fr`, gridTemplateRows: `1fr ${bottom}px` },
      },
      el(
        'div',
        { class: 'heat-y' },
        rows.toReversed().map((field) => el('span', {}, `${field.state.displayName} ms`)),
      ),
      canvas,
      el('span', {}),
      el('div', { class: 'heat-x' }, ticks(range, zone, area.width)),
    ),
  );
}

function ticks({ from, to }, zone, width) {
  const count = Math.max(2, Math.floor(width / 110));
  return Array.from({ length: count }, (_, at) => {
    const moment = from + ((to - from) * (at + 0.5)) / count;
    return el('span', {}, formatTick(moment, zone, to - from, 60_000));
  });
}

function paint(canvas, area, times, rows, theme) {
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(area.width * ratio);
  canvas.height = Math.round(area.height * ratio);
  const pen = canvas.getContext('2d');
  const most = Math.max(1, ...rows.flatMap((field) => field.values));
  const [wide, high] = [canvas.width / (times.length || 1), canvas.height / (rows.length || 1)];
  rows.forEach((field, row) => {
    field.values.forEach((value, at) => {
      if (!value) return;
      pen.fillStyle = heat(value / most, theme);
      pen.fillRect(
        at * wide + 0.5,
        canvas.height - (row + 1) * high + 0.5,
        Math.max(wide - 1, 1),
        high - 1,
      );
    });
  });
}

function heat(share, { isLight }) {
  const place = Math.min(share, 0.9999) * (STOPS.length - 1);
  const [low, high] = [STOPS[Math.floor(place)], STOPS[Math.floor(place) + 1]];
  const mixed = low.map((part, at) => Math.round(part + (high[at] - part) * (place % 1)));
  return `rgba(${mixed.join(', ')}, ${(isLight ? 0.18 : 0.12) + 0.8 * Math.sqrt(share)})`;
}
