// Scene objects: a tree that can be walked, asked and activated from outside.

let serial = 0;

export class SceneObject {
  constructor(state = {}) {
    serial += 1;
    this.key = state.key ?? `00000000-0000-4000-8000-${String(serial).padStart(12, '0')}`;
    this._state = Object.freeze({ ...state, key: this.key });
    this._parent = undefined;
    this._active = false;
    this.adopt(this._state);
  }

  get state() {
    return this._state;
  }

  get parent() {
    return this._parent;
  }

  get isActive() {
    return this._active;
  }

  // States are replaced and frozen: whoever writes into one from outside changes nothing.
  setState(patch) {
    this._state = Object.freeze({ ...this._state, ...patch });
    this.adopt(patch);
    this.changed?.(patch);
  }

  activate() {
    if (!this._active) {
      this._active = true;
      for (const helper of [this.state.$timeRange, this.state.$variables, this.state.$data])
        helper?.activate?.();
      this.activated?.();
    }
    return () => this.deactivate();
  }

  deactivate() {
    this._active = false;
    this.state.$data?.deactivate?.();
    this.deactivated?.();
  }

  forEachChild(visit) {
    for (const value of Object.values(this.state)) {
      for (const child of [value].flat()) {
        if (child instanceof SceneObject && visit(child) === false) return;
      }
    }
  }

  adopt(state) {
    for (const value of Object.values(state)) {
      for (const child of [value].flat()) if (child instanceof SceneObject) child._parent = this;
    }
  }
}

export class TimeRange extends SceneObject {
  constructor(env, refreshed) {
    const iso = (at) => new Date(at).toISOString();
    super({
      from: iso(env.range.from),
      to: iso(env.range.to),
      timeZone: env.zone,
      value: env.timeRange,
      refreshOnActivate: { percent: 10 },
      fiscalYearStartMonth: 0,
    });
    this.refreshed = refreshed;
  }

  onTimeRangeChange() {}

  onRefresh() {
    this.refreshed();
  }
}

export class Variable extends SceneObject {
  getValue() {
    return this.state.value;
  }
}

// The refresh picker starts its timer once, when it becomes active; what is set before that
// decides.
export class RefreshPicker extends SceneObject {
  constructor(refresh, tick) {
    super({
      refresh,
      intervals: ['5s', '10s', '30s', '1m', '5m', '15m', '30m', '1h'],
      withText: true,
    });
    this.tick = tick;
  }

  activated() {
    const [, count, unit] = /^(\d+)([smh])$/.exec(this.state.refresh ?? '') ?? [];
    if (count)
      this.timer = setInterval(
        this.tick,
        Number(count) * { s: 1000, m: 60_000, h: 3_600_000 }[unit],
      );
  }

  deactivated() {
    clearInterval(this.timer);
  }
}
