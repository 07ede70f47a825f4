// The login page, for people; services send a token.

import { el } from './dom.js';

const note = el('p', { class: 'login-note', role: 'alert' });
const form = el(
  'form',
  { class: 'login-box', onsubmit: signIn },
  el('h1', {}, 'Grafana stand-in'),
  el('label', {}, 'User', el('input', { name: 'user', autocomplete: 'username', required: true })),
  el('label', {}, 'Password', el('input', { name: 'password', type: 'password', required: true })),
  el('button', { type: 'submit' }, 'Log in'),
  note,
);
document.getElementById('preloader').remove();
document.getElementById('reactRoot').append(el('main', { class: 'login' }, form));
document.title = 'Grafana';

async function signIn(event) {
  event.preventDefault();
  const response = await fetch('login', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(Object.fromEntries(new FormData(form))),
  });
  if (response.ok) location.assign(new URL('dashboards', document.baseURI));
  else note.textContent = (await response.json()).message;
}
