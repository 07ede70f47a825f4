// Time ranges and clock faces.

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

// A bound as it stands in an address or a dashboard; null when it says nothing we understand (it is
// then ignored).
export function parseBound(text, { now, zone, end, iso }) {
  if (text === null || text === undefined || text === '') return null;
  const value = String(text);
  if (/^\d{9,}$/.test(value)) return Number(value);
  const relative = /^now(?:([-+])(\d+)([smhdwMy]))?(?:\/([hdwMy]))?$/.exec(value);
  if (relative) return relativeBound(relative, { now, zone, end });
  const day = /^(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2}))?$/.exec(value);
  if (day)
    return zonedToEpoch(
      day.slice(1, 7).map((part) => Number(part ?? 0)),
      zone,
    );
  const parsed = iso && /^\d{4}-\d{2}-\d{2}T/.test(value) ? Date.parse(value) : NaN;
  return Number.isNaN(parsed) ? null : parsed;
}

function relativeBound([, sign, count, unit, round], { now, zone, end }) {
  let at = now;
  if (unit) {
    const by = (sign === '-' ? -1 : 1) * Number(count);
    at = UNITS[unit] ? now + by * UNITS[unit] : addMonths(now, unit === 'y' ? by * 12 : by, zone);
  }
  return round ? roundTo(at, round, zone, end) : at;
}

function addMonths(at, months, zone) {
  const [year, month, ...rest] = parts(at, zone);
  return zonedToEpoch([year, month + months, ...rest], zone);
}

function roundTo(at, unit, zone, end) {
  const [year, month, day, hour] = parts(at, zone);
  const starts = {
    h: [year, month, day, hour],
    d: [year, month, day, 0],
    w: [year, month, day - ((new Date(Date.UTC(year, month - 1, day)).getUTCDay() + 6) % 7), 0],
    M: [year, month, 1, 0],
    y: [year, 1, 1, 0],
  };
  const start = [...starts[unit], 0, 0];
  if (!end) return zonedToEpoch(start, zone);
  const place = { h: 3, d: 2, w: 2, M: 1, y: 0 }[unit];
  start[place] += unit === 'w' ? 7 : 1;
  return zonedToEpoch(start, zone) - 1;
}

// Wall clock of a zone as [year, month, day, hour, minute, second].
export function parts(at, zone) {
  const face = new Intl.DateTimeFormat('en-CA', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  }).formatToParts(at);
  const read = Object.fromEntries(face.map(({ type, value }) => [type, Number(value)]));
  return [read.year, read.month, read.day, read.hour, read.minute, read.second];
}

function zonedToEpoch([year, month, day, hour, minute, second], zone) {
  const wall = Date.UTC(year, month - 1, day, hour, minute, second);
  let guess = wall;
  for (let round = 0; round < 2; round += 1) {
    const [y, mo, d, h, mi, s] = parts(guess, zone);
    guess += wall - Date.UTC(y, mo - 1, d, h, mi, s);
  }
  return guess;
}

// 'browser', '' and unknown names mean the browser's own zone.
export function namedZone(name) {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!name || name === 'browser') return own;
  try {
    return Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return own;
  }
}

const two = (number) => String(number).padStart(2, '0');

export function formatStamp(at, zone) {
  const [year, month, day, hour, minute, second] = parts(at, zone);
  return `${year}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}:${two(second)}`;
}

// A tick below a time axis: as short as the range allows.
export function formatTick(at, zone, spanMs, stepMs) {
  const [, month, day, hour, minute, second] = parts(at, zone);
  if (stepMs >= UNITS.d) return `${two(month)}/${two(day)}`;
  const clock =
    stepMs < UNITS.m ? `${two(hour)}:${two(minute)}:${two(second)}` : `${two(hour)}:${two(minute)}`;
  return spanMs > UNITS.d ? `${two(month)}/${two(day)} ${clock}` : clock;
}

export function describeRange(raw, range, zone) {
  const last = /^now-(\d+)([mhdw])$/.exec(String(raw.from));
  if (last && raw.to === 'now') {
    const name = { m: 'minute', h: 'hour', d: 'day', w: 'week' }[last[2]];
    return `Last ${last[1]} ${name}${last[1] === '1' ? '' : 's'}`;
  }
  return `${formatStamp(range.from, zone)} to ${formatStamp(range.to, zone)}`;
}
