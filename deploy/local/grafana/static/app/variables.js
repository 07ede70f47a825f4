// Template variables: their values from the address, the dashboard or the data source, and their
// place in text.

const ALL = '$__all';

export class Variables {
  constructor(list, search, builtIn) {
    this.search = search;
    this.builtIn = builtIn;
    this.list = list.map((model) => ({
      model,
      name: model.name,
      options: [],
      value: [],
      text: '',
      error: null,
    }));
  }

  // One after the other, because a later one may be asked for in terms of an earlier one.
  async load(backend, settings, onQuery) {
    for (const variable of this.list) {
      try {
        variable.options = await this.optionsOf(variable.model, backend, settings, onQuery);
      } catch (error) {
        variable.error = error.message;
      }
      this.choose(variable);
    }
  }

  async optionsOf(model, backend, settings, onQuery) {
    if (model.type === 'custom' || model.type === 'interval')
      return model.query.split(',').map((part) => part.trim());
    if (model.type !== 'query') return [String(model.query ?? '')];
    const uid = model.datasource?.uid ?? 'demo';
    if (!Object.values(settings.datasources).some((source) => source.uid === uid)) {
      throw new Error(`Datasource ${uid} was not found`);
    }
    const parent = this.interpolate(model.query.parent ?? '', {}, 'csv');
    const asked = new URLSearchParams({ name: model.query.values, parent });
    const done = onQuery();
    try {
      return await backend.get(`api/datasources/uid/${uid}/resources/values?${asked}`);
    } finally {
      done();
    }
  }

  choose(variable) {
    const { model, options } = variable;
    const given = this.search.getAll(`var-${variable.name}`);
    const stored = [model.current?.value ?? []].flat();
    const wanted = given.length ? given : stored.length ? stored : options.slice(0, 1);
    const all = model.includeAll && (wanted.includes(ALL) || wanted.includes('All'));
    variable.isAll = all;
    variable.value = all ? options : model.multi ? wanted : wanted.slice(0, 1);
    variable.text = all ? 'All' : variable.value.join(' + ');
  }

  valuesOf(name) {
    return this.list.find((variable) => variable.name === name)?.value ?? [];
  }

  // `scoped` is what a repeated panel knows better: {node: 'ew-node-01'}.
  interpolate(text, scoped = {}, format = 'text') {
    const pattern = /\$(\w+)|\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)\]\]/g;
    return String(text).replace(pattern, (whole, plain, braced, asked, square) => {
      const name = plain ?? braced ?? square;
      if (name in scoped) return scoped[name];
      if (name in this.builtIn) return this.builtIn[name];
      const variable = this.list.find((candidate) => candidate.name === name);
      return variable ? formatted(variable, asked ?? format) : whole;
    });
  }

  interpolateDeep(value, scoped) {
    if (typeof value === 'string') return this.interpolate(value, scoped, 'glob');
    if (Array.isArray(value)) return value.map((item) => this.interpolateDeep(item, scoped));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, this.interpolateDeep(item, scoped)]),
    );
  }

  // What an address bar says about them.
  pairs() {
    return this.list.flatMap(({ name, value, isAll }) =>
      (isAll ? [ALL] : value).map((one) => [`var-${name}`, one]),
    );
  }
}

function formatted({ value, text }, format) {
  if (format === 'text') return text;
  if (format === 'csv' || format === 'raw') return value.join(',');
  if (format === 'pipe') return value.join('|');
  if (format === 'regex') return value.length > 1 ? `(${value.join('|')})` : value.join('');
  if (format === 'json') return JSON.stringify(value);
  if (format === 'queryparam') return value.map(encodeURIComponent).join('&');
  return value.length > 1 ? `{${value.join(',')}}` : value.join('');
}
