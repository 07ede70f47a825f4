// Which dashboard the page shows, and of when: { uids, from, to }, times in milliseconds, null
// where the front-end does not tell.
() => {
  'use strict';
  const instant = (value) => {
    const milliseconds = value === undefined || value === null ? NaN : Number(value.valueOf());
    return Number.isFinite(milliseconds) ? milliseconds : null;
  };
  const scene = panels.scene();
  if (scene) {
    const range = scene.state.$timeRange?.state?.value;
    return {
      uids: [panels.text(scene.state.uid)],
      from: instant(range?.from),
      to: instant(range?.to),
    };
  }
  const runtime = window.grafanaRuntime;
  const range = runtime?.getDashboardTimeRange?.();
  const uids = [...document.querySelectorAll('[data-panelid]')]
    .map((element) => panels.wrapperOf(element)?.props.dashboard.uid)
    .filter((uid) => uid !== undefined);
  return {
    uids: [...new Set([runtime?.getDashboardSaveModel?.()?.uid, ...uids])].map(panels.text),
    from: instant(range?.from),
    to: instant(range?.to),
  };
};
