// A panel that is not Grafana's own. As such panels may, it leaves something in the page: here a name,
// by which a test finds out whether the page was loaded anew.

export function draw(host, { range }) {
  window.acmeClock = (window.acmeClock ?? 0) + 1;
  const face = document.createElement('div');
  face.textContent = new Date(range.to).toISOString();
  host.append(face);
}
