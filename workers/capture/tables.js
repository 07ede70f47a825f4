// The rows of every table panel, as the reader sees them: after transformations, field overrides,
// units and mappings, without hidden columns, in the panel's order; and, if asked for, the values
// behind them, of hidden columns neither.
// Given { rows, tables, cells, raw }: how many of one table and in all are taken. Returns
// { tables: [{ title, header: [text], rows: [[text]], raw: [[text or number or bool or null]] |
// null, count: rows it has }], total: tables on the page, failed: [titles of those that cannot be
// read] }.
(limit) => {
  'use strict';

  let room = limit.cells;
  const TABLES = new Set(['table', 'table-old']);
  const length = (values) => values?.length ?? 0;
  // Up to Grafana 9 the values of a field are a vector, then an array.
  const value = (values, row) =>
    Array.isArray(values) || ArrayBuffer.isView(values) ? values[row] : values.get(row);

  function cell(field, row) {
    const raw = value(field.values, row);
    if (raw === null || raw === undefined) {
      return '';
    }
    if (typeof raw === 'object') {
      return JSON.stringify(raw) ?? '';
    }
    const shown = field.display?.(raw);
    return shown ? `${shown.prefix ?? ''}${shown.text ?? ''}${shown.suffix ?? ''}` : String(raw);
  }

  // Times as ISO 8601 in UTC; numbers and booleans as they are.
  function rawCell(field, row) {
    const raw = value(field.values, row);
    if (raw === null || raw === undefined) {
      return null;
    }
    if (field.type === 'time') {
      const time = new Date(Number(raw));
      return Number.isNaN(time.getTime()) ? String(raw) : time.toISOString();
    }
    if (typeof raw === 'object') {
      return JSON.stringify(raw) ?? null;
    }
    return typeof raw === 'number' && !Number.isFinite(raw) ? String(raw) : raw;
  }

  function heading(field) {
    return String(field.state?.displayName ?? field.config?.displayName ?? field.name ?? '');
  }

  // As the table itself sorts: by several columns, the first one first, empty cells as smallest.
  function order(fields, count, sortBy) {
    const rows = Array.from({ length: count }, (_, row) => row);
    const keys = (Array.isArray(sortBy) ? sortBy : [])
      .map((by) => ({
        field: fields.find((field) => heading(field) === by?.displayName),
        sign: by?.desc ? -1 : 1,
      }))
      .filter(({ field }) => field);
    if (keys.length === 0) {
      return rows;
    }
    const compare = (a, b) =>
      a === b
        ? 0
        : a === null || a === undefined
          ? -1
          : b === null || b === undefined
            ? 1
            : typeof a === 'string'
              ? a.localeCompare(String(b))
              : a < b
                ? -1
                : 1;
    return rows.sort((a, b) => {
      for (const { field, sign } of keys) {
        const difference = compare(value(field.values, a), value(field.values, b));
        if (difference !== 0) {
          return sign * difference;
        }
      }
      return a - b;
    });
  }

  function table(title, series, options) {
    const frame = series?.[options?.frameIndex || 0];
    const all = frame?.fields || [];
    const fields = all.filter(
      (field) => !field.config?.custom?.hidden && !field.config?.custom?.hideFrom?.viz,
    );
    const count = Math.max(0, ...fields.map((field) => length(field.values)));
    // Sorted before it is cut, so that the first rows are those that the reader sees first.
    const most = Math.min(limit.rows, Math.floor(room / Math.max(fields.length, 1)));
    const rows = order(fields, count, options?.sortBy).slice(0, most);
    room -= rows.length * fields.length;
    return {
      title: String(title ?? ''),
      header: fields.map(heading),
      rows: rows.map((row) => fields.map((field) => cell(field, row))),
      raw: limit.raw ? rows.map((row) => fields.map((field) => rawCell(field, row))) : null,
      count,
    };
  }

  const found = { tables: [], total: 0, failed: [] };
  function add(title, panel) {
    found.total += 1;
    if (found.tables.length >= limit.tables) {
      return;
    }
    try {
      const { series, options } = panel();
      found.tables.push(table(title, series, options));
    } catch (error) {
      found.failed.push(String(title));
    }
  }

  const scene = panels.scene();
  if (scene) {
    panels.eachOfScene(scene, (panel) => {
      const data = panel.state.$data?.state?.data;
      if (TABLES.has(panel.state.pluginId) && data?.series?.length) {
        add(panels.interpolated(panel, panel.state.title), () => ({
          series: panel.applyFieldConfig(data).series,
          options: panel.state.options,
        }));
      }
    });
    return found;
  }
  for (const element of document.querySelectorAll('[data-panelid]')) {
    const wrapper = panels.wrapperOf(element);
    const panel = wrapper?.props.panel;
    if (TABLES.has(panel?.type) && wrapper.state.data?.series?.length) {
      add(panels.titleOf(panel), () => ({
        series: wrapper.state.data.series,
        options: panel.options,
      }));
    }
  }
  return found;
};
