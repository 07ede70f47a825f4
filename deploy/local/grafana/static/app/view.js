// What is inside a panel's frame: the drawing, or the words that stand in for it. Redrawn when its
// size changes.

import { theme } from './colors.js';
import { el } from './dom.js';
import { applyFieldConfig, transform } from './frames.js';

export class View {
  constructor(env, panel, scoped, host) {
    this.env = env;
    this.panel = panel;
    this.scoped = scoped;
    this.host = host;
    this.clean = null;
    this.drawn = null;
    this.seen = '';
    this.resizes = new ResizeObserver(() => requestAnimationFrame(() => this.resized()));
    this.resizes.observe(host);
  }

  // `series` are raw frames; transformations and field config are applied here.
  draw(plugin, series) {
    this.drawn = { plugin, series };
    this.seen = this.size();
    this.clear();
    const ready = plugin.meta.skipDataQuery
      ? []
      : configured(this.env, this.panel, series, this.scoped);
    if (!plugin.meta.skipDataQuery && isEmpty(ready)) return this.say('No data');
    this.clean = plugin.draw(this.host, this.context(ready)) ?? null;
    return undefined;
  }

  say(text) {
    this.clear();
    this.host.append(
      el(
        'div',
        { class: 'panel-empty', 'data-testid': 'data-testid Panel data error message' },
        text,
      ),
    );
  }

  clear() {
    this.clean?.();
    this.clean = null;
    this.host.replaceChildren();
  }

  size() {
    return `${this.host.clientWidth}x${this.host.clientHeight}`;
  }

  resized() {
    if (this.drawn && this.size() !== this.seen && this.host.clientWidth)
      this.draw(this.drawn.plugin, this.drawn.series);
  }

  context(series) {
    const { env, panel, scoped } = this;
    return {
      series,
      options: panel.options ?? {},
      width: this.host.clientWidth,
      height: this.host.clientHeight,
      theme: theme(env.isLight),
      range: env.range,
      zone: env.zone,
      annotations: env.annotations,
      settings: env.settings,
      interpolate: (text) => env.variables.interpolate(text, scoped),
    };
  }

  destroy() {
    this.resizes.disconnect();
    this.clear();
  }
}

export function configured(env, panel, series, scoped) {
  const { zone, isLight } = env;
  const interpolate = (text) => env.variables.interpolate(text, scoped);
  return applyFieldConfig(transform(series, panel.transformations), panel.fieldConfig, {
    zone,
    isLight,
    interpolate,
  });
}

const isEmpty = (series) => !series.some((frame) => frame.length > 0);
