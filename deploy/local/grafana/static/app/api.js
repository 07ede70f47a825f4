// Talking to the server. Addresses are relative, without a leading slash, so that <base href>
// decides the sub-path.

const AT_A_TIME = 5;
const AT_A_TIME_HTTP2 = 1000;

export class HttpError extends Error {
  constructor(status, body) {
    super(body?.message || body?.error || `HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
}

export class Backend {
  constructor(settings, user) {
    this.headers = { accept: 'application/json', 'x-grafana-org-id': String(user.orgId) };
    // Browsers have six connections per host over HTTP/1.1; one stays free for everything that is
    // not data.
    this.limit = settings.http2Enabled ? AT_A_TIME_HTTP2 : AT_A_TIME;
    this.running = 0;
    this.waiting = [];
  }

  async get(url, signal) {
    return read(await fetch(url, { headers: this.headers, signal }));
  }

  async query(body, headers, signal) {
    await this.turn(signal);
    try {
      const response = await fetch(`api/ds/query?ds_type=standin-data&requestId=${headers.id}`, {
        method: 'POST',
        headers: {
          ...this.headers,
          'content-type': 'application/json',
          'x-dashboard-uid': headers.dashboard,
          'x-panel-id': String(headers.panel),
        },
        body: JSON.stringify(body),
        signal,
      });
      return await readResults(response);
    } finally {
      this.running -= 1;
      this.waiting.shift()?.();
    }
  }

  turn(signal) {
    if (this.running < this.limit) {
      this.running += 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const go = () => {
        this.running += 1;
        resolve();
      };
      this.waiting.push(go);
      signal?.addEventListener('abort', () => {
        const place = this.waiting.indexOf(go);
        if (place >= 0) {
          this.waiting.splice(place, 1);
          reject(signal.reason);
        }
      });
    });
  }
}

async function read(response) {
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new HttpError(response.status, body);
  return body;
}

// A newer server answers 207 or 400 and still has results, each with its own error.
async function readResults(response) {
  const body = await response.json().catch(() => null);
  if (body?.results) return body.results;
  throw new HttpError(response.status, body);
}
