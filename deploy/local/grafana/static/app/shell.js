// Everything around the grid: navigation, the bar of variables and times, alerts.

import { el } from './dom.js';
import { describeRange } from './time.js';

export function navigation(title, base) {
  return el(
    'header',
    { class: 'topbar' },
    el(
      'a',
      { class: 'brand', href: `${base}/dashboards` },
      el('span', { class: 'brand-mark' }),
      'Stand-in',
    ),
    el(
      'nav',
      { class: 'crumbs', 'aria-label': 'Breadcrumbs' },
      el('a', { href: `${base}/dashboards` }, 'Dashboards'),
      ' › ',
      el('span', {}, title),
    ),
  );
}

export function variableBar(variables) {
  return variables.list
    .filter(({ model }) => model.hide !== 2)
    .map(({ model, name, text, error }) =>
      el(
        'div',
        { class: error ? 'chip chip-error' : 'chip', title: error },
        el(
          'span',
          {
            class: 'chip-label',
            'data-testid': `data-testid Dashboard template variables submenu Label ${model.label ?? name}`,
          },
          model.label ?? name,
        ),
        el('span', { class: 'chip-value' }, text),
      ),
    );
}

export function timeChip(env) {
  const words = describeRange(env.raw, env.range, env.zone);
  return el(
    'div',
    { class: 'chip', 'data-testid': 'data-testid TimePicker Open Button' },
    el('span', { class: 'chip-value' }, words),
  );
}

export function alert(title, text) {
  return el(
    'div',
    {
      class: 'alert alert-error',
      role: 'alert',
      'data-testid': 'data-testid Alert error',
      'aria-label': 'Alert error',
    },
    el('div', { class: 'alert-title' }, title),
    text ? el('div', { class: 'alert-text' }, text) : null,
  );
}

export async function listOfDashboards(backend, base) {
  const found = await backend.get('api/search?type=dash-db');
  return el(
    'div',
    { class: 'home' },
    el('h1', {}, 'Dashboards'),
    el(
      'ul',
      {},
      found.map(({ title, uid }) => el('li', {}, el('a', { href: `${base}/d/${uid}/_` }, title))),
    ),
  );
}
