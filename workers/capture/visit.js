// Goes to another address as the browser's back button would: Grafana's router follows, and nothing
// is loaded anew.
(address) => {
  'use strict';
  const key = Math.random().toString(36).slice(2, 8);
  history.pushState({ key }, '', address);
  dispatchEvent(new PopStateEvent('popstate', { state: history.state }));
};
