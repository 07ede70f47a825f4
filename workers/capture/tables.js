// The rows of every table panel, as text, as the reader sees them: after transformations, field
// overrides, units and mappings, without hidden columns, in the panel's order.
// Given { rows, tables }: how many of each are taken. Returns { tables: [{ title, header: [text],
// rows: [[text]], count: rows it has }], total: tables on the page }.
(limit) => {
  'use strict';

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

  function heading(field) {
    return String(field.state?.displayName ?? field.config?.displayName ?? field.name ?? '');
  }

  function order(fields, count, sortBy) {
    const rows = Array.from({ length: count }, (_, row) => row);
    const wanted = Array.isArray(sortBy) ? sortBy[0] : undefined;
    const by = wanted && fields.find((field) => heading(field) === wanted.displayName);
    if (!by) {
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
    const sign = wanted.desc ? -1 : 1;
    return rows.sort((a, b) => sign * compare(value(by.values, a), value(by.values, b)));
  }

  function table(title, series, options) {
    const frame = series?.[options?.frameIndex || 0];
    const all = frame?.fields || [];
    const fields = all.filter(
      (field) => !field.config?.custom?.hidden && !field.config?.custom?.hideFrom?.viz,
    );
    const count = Math.max(0, ...fields.map((field) => length(field.values)));
    return {
      title: String(title ?? ''),
      header: fields.map(heading),
      // Sorted before it is cut, so that the first rows are those that the reader sees first.
      rows: order(fields, count, options?.sortBy)
        .slice(0, limit.rows)
        .map((row) => fields.map((field) => cell(field, row))),
      count,
    };
  }

  const found = { tables: [], total: 0 };
  function add(...panel) {
    found.total += 1;
    if (found.tables.length < limit.tables) {
      found.tables.push(table(...panel));
    }
  }

  const scene = window.__grafanaSceneContext;
  if (scene?.state) {
    const seen = new Set();
    (function walk(object) {
      if (seen.has(object)) {
        return;
      }
      seen.add(object);
      if (object.state?.pluginId === 'table' && typeof object.applyFieldConfig === 'function') {
        const data = object.state.$data?.state?.data;
        if (data?.series?.length) {
          const title = object.interpolate
            ? object.interpolate(object.state.title, undefined, 'text')
            : object.state.title;
          add(title, object.applyFieldConfig(data).series, object.state.options);
        }
      }
      object.forEachChild?.(walk);
    })(scene);
    return found;
  }
  for (const element of document.querySelectorAll('[data-panelid]')) {
    const name = Object.keys(element).find((key) => /^__react(Fiber|InternalInstance)\$/.test(key));
    const pending = [element[name]?.child];
    for (let steps = 0; pending.length > 0 && steps < 2000; steps++) {
      const fibre = pending.pop();
      if (!fibre) {
        continue;
      }
      const node = fibre.stateNode;
      if (node?.state && 'data' in node.state && node.props?.panel && node.props?.dashboard) {
        const { panel } = node.props;
        if (panel.type === 'table' && node.state.data?.series?.length) {
          add(panel.getDisplayTitle?.() ?? panel.title, node.state.data.series, panel.options);
        }
        break;
      }
      pending.push(fibre.sibling, fibre.child);
    }
  }
  return found;
};
