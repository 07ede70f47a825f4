// The data of one panel: asks, cancels, asks again, and tells every state on the way.

import { HttpError } from './api.js';
import { errorsOf, toFrames } from './frames.js';

let requests = 100;

export class QueryRun {
  constructor(env, panel, scoped, onData) {
    this.env = env;
    this.panel = panel;
    this.scoped = scoped;
    this.onData = onData;
    this.data = null;
    this.controller = null;
  }

  // A tick of the refresh timer comes in here too: what was running is given up, and everything
  // starts again.
  async run(maxDataPoints) {
    this.cancel();
    const controller = new AbortController();
    this.controller = controller;
    const finished = this.env.queryStarted();
    this.publish({ state: 'Loading', series: this.data?.series ?? [], errors: [] });
    try {
      const results = await this.ask(maxDataPoints, controller.signal);
      const errors = errorsOf(results);
      if (this.controller === controller) {
        this.publish({
          state: errors.length ? 'Error' : 'Done',
          series: toFrames(results),
          errors,
        });
      }
    } catch (error) {
      if (this.controller === controller)
        this.publish({ state: 'Error', series: [], errors: [asQueryError(error)] });
    } finally {
      finished();
      if (this.controller === controller) this.controller = null;
    }
  }

  cancel() {
    const running = this.controller;
    this.controller = null;
    running?.abort();
  }

  async ask(maxDataPoints, signal) {
    const { env, panel, scoped } = this;
    const targets = (panel.targets ?? []).filter((target) => !target.hide);
    if (!targets.length) return {};
    const points = panel.maxDataPoints ?? Math.max(Math.floor(maxDataPoints), 1);
    const intervalMs = Math.max(Math.round((env.range.to - env.range.from) / points), 1);
    const queries = targets.map((target) => ({
      refId: 'A',
      ...env.variables.interpolateDeep(target, scoped),
      datasource: sourceOf(env, panel, target, scoped),
      intervalMs,
      maxDataPoints: points,
    }));
    const body = { queries, from: String(env.range.from), to: String(env.range.to) };
    const id = `Q${(requests += 1)}`;
    return env.backend.query(body, { id, dashboard: env.uid, panel: panel.id }, signal);
  }

  publish({ state, series, errors }) {
    const { env, panel } = this;
    this.data = {
      state,
      series,
      errors,
      error: errors[0],
      annotations: env.annotations,
      timeRange: env.timeRange,
      request: { panelId: panel.id, range: env.timeRange },
      structureRev: (this.data?.structureRev ?? 0) + 1,
    };
    this.onData(this.data);
  }
}

function asQueryError(error) {
  const status = error instanceof HttpError ? error.status : undefined;
  return { message: error.message, status, refId: 'A', traceId: '' };
}

export function sourceUid(env, panel, scoped = {}) {
  const source = panel.datasource ?? panel.targets?.[0]?.datasource;
  const uid = typeof source === 'string' ? source : source?.uid;
  return uid ? env.variables.interpolate(uid, scoped) : null;
}

export function sourceKnown(env, uid) {
  return (
    uid === null ||
    Object.values(env.settings.datasources).some(
      (source) => source.uid === uid || source.name === uid,
    )
  );
}

function sourceOf(env, panel, target, scoped) {
  const uid = sourceUid(
    env,
    { ...panel, datasource: target.datasource ?? panel.datasource },
    scoped,
  );
  if (!sourceKnown(env, uid)) throw new Error(`Datasource ${uid} was not found`);
  const { datasources, defaultDatasource } = env.settings;
  const source =
    uid === null
      ? datasources[defaultDatasource]
      : Object.values(datasources).find((one) => one.uid === uid);
  return { type: source.type, uid: source.uid };
}
