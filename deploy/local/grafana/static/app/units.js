// Values as people read them: prefix, text and suffix, kept apart as the field's display() gives
// them.

const SCALES = {
  short: { base: 1000, steps: ['', ' K', ' Mil', ' Bil', ' Tri'] },
  bytes: { base: 1024, steps: [' B', ' KiB', ' MiB', ' GiB', ' TiB', ' PiB'] },
  decbytes: { base: 1000, steps: [' B', ' kB', ' MB', ' GB', ' TB', ' PB'] },
  Bps: { base: 1000, steps: [' B/s', ' kB/s', ' MB/s', ' GB/s', ' TB/s'] },
  bps: { base: 1000, steps: [' b/s', ' kb/s', ' Mb/s', ' Gb/s', ' Tb/s'] },
  hertz: { base: 1000, steps: [' Hz', ' kHz', ' MHz', ' GHz'] },
  watt: { base: 1000, steps: [' W', ' kW', ' MW', ' GW'] },
};
const PLAIN = {
  percent: '%',
  celsius: ' °C',
  reqps: ' req/s',
  ops: ' ops/s',
  cpm: ' c/min',
  rpm: ' rpm',
  humidity: '%H',
};
const MONEY = { currencyUSD: '$', currencyEUR: '€', currencyGBP: '£' };
const CLOCK = [
  [1e-6, 'ns', 1e-9],
  [1e-3, 'µs', 1e-6],
  [1, 'ms', 1e-3],
  [60, 's', 1],
  [3600, 'min', 60],
  [86_400, 'hour', 3600],
  [Infinity, 'day', 86_400],
];
const CLOCK_BASE = { ns: 1e-9, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86_400 };

export function formatValue(value, unit, decimals) {
  if (unit === undefined || unit === '' || unit === 'none') return { text: fixed(value, decimals) };
  if (unit === 'locale')
    return {
      text: value.toLocaleString('en-US', {
        minimumFractionDigits: decimals ?? 0,
        maximumFractionDigits: decimals ?? 3,
      }),
    };
  if (unit === 'percentunit') return { text: fixed(value * 100, decimals), suffix: '%' };
  if (SCALES[unit]) return scaled(value, SCALES[unit], decimals);
  if (CLOCK_BASE[unit]) return clock(value * CLOCK_BASE[unit], decimals);
  if (MONEY[unit]) return { prefix: MONEY[unit], ...scaled(value, SCALES.short, decimals) };
  return {
    text: fixed(value, decimals),
    suffix: PLAIN[unit] ?? ` ${unit.replace(/^suffix:\s*/, '')}`,
  };
}

function scaled(value, { base, steps }, decimals) {
  let rest = value;
  let step = 0;
  while (Math.abs(rest) >= base && step < steps.length - 1) {
    rest /= base;
    step += 1;
  }
  return { text: fixed(rest, decimals), suffix: steps[step] };
}

function clock(seconds, decimals) {
  if (seconds === 0) return { text: '0', suffix: ' s' };
  const [, name, size] = CLOCK.find(([limit]) => Math.abs(seconds) < limit);
  const count = seconds / size;
  const plural = (name === 'hour' || name === 'day') && Math.abs(count) !== 1 ? 's' : '';
  return { text: fixed(count, decimals), suffix: ` ${name}${plural}` };
}

function fixed(value, decimals) {
  if (decimals !== undefined && decimals !== null) return value.toFixed(decimals);
  const size = Math.abs(value);
  const places = size === 0 || size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return String(Number(value.toFixed(places)));
}
