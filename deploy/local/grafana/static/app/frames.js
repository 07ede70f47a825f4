// From the server's answer to data frames, and from frames to fields that know how to show their
// values.

import { color, fieldColor } from './colors.js';
import { formatStamp } from './time.js';
import { formatValue } from './units.js';

export function toFrames(results) {
  return Object.entries(results).flatMap(([refId, result]) =>
    (result.frames ?? []).map(({ schema, data }) => ({
      refId: schema.refId ?? refId,
      name: schema.name,
      meta: schema.meta,
      length: data.values[0]?.length ?? 0,
      fields: schema.fields.map((field, index) => ({
        name: field.name,
        type: field.type,
        labels: field.labels,
        typeInfo: field.typeInfo,
        config: field.config ?? {},
        values: data.values[index],
      })),
    })),
  );
}

export function errorsOf(results) {
  return Object.entries(results)
    .filter(([, result]) => result.error)
    .map(([refId, { error, status }]) => ({ message: error, refId, status, traceId: '' }));
}

// The few transformations our dashboards use. What is not known is left out, as an unknown one is
// in Grafana.
export function transform(frames, transformations = []) {
  return transformations.reduce((done, { id, options, disabled }) => {
    if (disabled) return done;
    if (id === 'organize') return done.map((frame) => organize(frame, options));
    if (id === 'limit') return done.map((frame) => limit(frame, Number(options.limitField ?? 10)));
    return done;
  }, frames);
}

function organize(frame, { excludeByName = {}, indexByName = {}, renameByName = {} }) {
  const order = (field) => indexByName[field.name] ?? Number.MAX_SAFE_INTEGER;
  const fields = frame.fields
    .filter((field) => !excludeByName[field.name])
    .toSorted((one, other) => order(one) - order(other))
    .map((field) => {
      const renamed = renameByName[field.name];
      return renamed ? { ...field, config: { ...field.config, displayName: renamed } } : field;
    });
  return { ...frame, fields };
}

function limit(frame, count) {
  const fields = frame.fields.map((field) => ({ ...field, values: field.values.slice(0, count) }));
  return { ...frame, fields, length: Math.min(frame.length, count) };
}

// Defaults and overrides laid over each field, with display(); the frames given are left as they
// were.
export function applyFieldConfig(frames, fieldConfig, { zone, isLight, interpolate }) {
  let seriesIndex = -1;
  return frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) => {
      if (field.type === 'number') seriesIndex += 1;
      const config = mergedConfig(field, frame, fieldConfig);
      if (config.displayName) config.displayName = interpolate(config.displayName);
      const state = {
        displayName: displayName({ ...field, config }),
        seriesIndex: Math.max(seriesIndex, 0),
      };
      const made = { ...field, config, state };
      return { ...made, display: displayProcessor(made, { zone, isLight }) };
    }),
  }));
}

function mergedConfig(field, frame, { defaults = {}, overrides = [] } = {}) {
  const config = {
    ...defaults,
    ...field.config,
    custom: { ...defaults.custom, ...field.config.custom },
  };
  for (const { matcher, properties } of overrides) {
    if (matches(matcher, field, frame))
      for (const { id, value } of properties) set(config, id, value);
  }
  return config;
}

function matches({ id, options }, field, frame) {
  if (id === 'byName') return field.name === options || field.config.displayName === options;
  if (id === 'byType') return field.type === options;
  if (id === 'byRegexp') return new RegExp(options.replace(/^\/|\/$/g, '')).test(field.name);
  if (id === 'byFrameRefID') return frame.refId === options;
  return false;
}

function set(config, path, value) {
  const keys = path.split('.');
  const last = keys.pop();
  const owner = keys.reduce((inner, key) => (inner[key] = { ...inner[key] }), config);
  owner[last] = value;
}

export function displayName(field) {
  if (field.config.displayName) return field.config.displayName;
  const labels = Object.entries(field.labels ?? {}).map(([key, value]) => `${key}="${value}"`);
  return labels.length && field.name === 'Value' ? `{${labels.join(', ')}}` : field.name;
}

function displayProcessor(field, { zone, isLight }) {
  const { config, type, state } = field;
  const mappings = (config.mappings ?? []).filter((mapping) => mapping.type === 'value');
  return (value) => {
    const base = { numeric: typeof value === 'number' ? value : NaN, percent: 0 };
    if (value === null || value === undefined) return { ...base, text: config.noValue ?? '' };
    const mapped = mappings.map((mapping) => mapping.options[String(value)]).find(Boolean);
    const tint = mapped?.color
      ? color(mapped.color, isLight)
      : fieldColor(config, value, state.seriesIndex, isLight);
    if (mapped?.text) return { ...base, text: mapped.text, color: tint };
    if (type === 'time') return { ...base, text: formatStamp(value, zone), color: tint };
    if (type !== 'number') return { ...base, text: String(value), color: tint };
    if (Number.isNaN(value)) return { ...base, text: 'NaN', color: tint };
    const low = config.min ?? 0;
    const percent = config.max !== undefined ? (value - low) / (config.max - low) : 0;
    return { ...base, percent, color: tint, ...formatValue(value, config.unit, config.decimals) };
  };
}

export const shown = ({ prefix = '', text, suffix = '' }) => `${prefix}${text}${suffix}`;

export function reduce(values, how = 'lastNotNull') {
  const real = values.filter(
    (value) => value !== null && value !== undefined && !Number.isNaN(value),
  );
  if (!real.length) return null;
  const sum = () => real.reduce((total, value) => total + value, 0);
  const known = {
    sum,
    mean: () => sum() / real.length,
    max: () => real.reduce((best, value) => Math.max(best, value)),
    min: () => real.reduce((best, value) => Math.min(best, value)),
    first: () => real[0],
    count: () => real.length,
    diff: () => real.at(-1) - real[0],
  };
  return known[how] ? known[how]() : real.at(-1);
}

// One entry per value that single-value panels show: a series reduced, or every row with `values:
// true`.
export function reducedValues(series, { reduceOptions = {} } = {}) {
  const how = reduceOptions.calcs?.[0] ?? 'lastNotNull';
  return series.flatMap((frame) => {
    const numbers = frame.fields.filter(
      (field) => field.type === 'number' && !field.config.custom?.hidden,
    );
    const names = frame.fields.find((field) => field.type === 'string');
    const times = frame.fields.find((field) => field.type === 'time');
    if (reduceOptions.values && numbers[0]) {
      return numbers[0].values
        .slice(0, reduceOptions.limit ?? 25)
        .map((value, row) =>
          entry(numbers[0], value, names ? String(names.values[row]) : undefined, row),
        );
    }
    return numbers.map((field) => ({
      ...entry(field, reduce(field.values, how), undefined, field.state.seriesIndex),
      trend: times ? [times.values, field.values] : null,
    }));
  });
}

function entry(field, value, title, index) {
  return {
    field,
    value,
    index,
    title: title ?? field.state.displayName,
    display: field.display(value),
  };
}
