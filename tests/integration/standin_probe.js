// What tests ask of a stand-in page: the same questions a capture asks of Grafana, written
// independently of it.

window.probe = {
  // Scenes: every panel that is not in a collapsed row.
  scenePanels() {
    const found = [];
    const walk = (object) => {
      if (object.state.isCollapsed) return;
      if (typeof object.applyFieldConfig === 'function') found.push(object);
      object.forEachChild(walk);
    };
    if (window.__grafanaSceneContext) walk(window.__grafanaSceneContext);
    return found;
  },

  // Legacy: grid items, each with the state holder its fibre leads to (or none).
  legacyPanels() {
    return [...document.querySelectorAll('[data-panelid]')].map((item) => ({
      id: Number(item.dataset.panelid),
      holder: probe.holderOf(item),
    }));
  },

  holderOf(item) {
    const key = Object.keys(item).find((name) => name.startsWith('__reactFiber$'));
    const search = (fibre) => {
      for (let node = fibre; node; node = node.sibling) {
        const { state, props } = node.stateNode ?? {};
        if (state?.data && props?.panel && props?.dashboard) return node.stateNode;
        const below = search(node.child);
        if (below) return below;
      }
      return null;
    };
    return search(item[key].child);
  },

  isScenes: () => Boolean(window.__grafanaSceneContext),

  // [title, state] of every panel that has started; a panel without data of its own says so.
  started() {
    if (probe.isScenes()) {
      return probe
        .scenePanels()
        .filter((panel) => panel.isActive)
        .map((panel) => [
          panel.interpolate(panel.state.title),
          panel.state.$data
            ? (panel.state.$data.state.data?.state ?? 'NotStarted')
            : 'no data source',
        ]);
    }
    return probe
      .legacyPanels()
      .filter(({ holder }) => holder)
      .map(({ holder: { props, state } }) => [
        props.panel.getDisplayTitle(),
        props.plugin.meta.skipDataQuery ? 'no data source' : state.data.state,
      ]);
  },

  states: () => Object.fromEntries(probe.started()),

  settled(count) {
    const states = probe.started().map(([, state]) => state);
    const ended = states.filter((state) => /Done|Error|no data source/.test(state));
    return states.length >= count && ended.length === states.length && probe.drawn();
  },

  // Plugins come over the network too: a panel is drawn when there is something in it.
  drawn: () =>
    [...document.querySelectorAll('.panel-content')].every(
      (content) => content.childElementCount > 0,
    ),

  // Frames with field config, by panel title.
  frames(title) {
    if (probe.isScenes()) {
      const panel = probe.scenePanels().find(({ state }) => state.title === title);
      return panel.applyFieldConfig(panel.state.$data.state.data).series;
    }
    return probe.legacyPanels().find(({ holder }) => holder?.props.panel.title === title).holder
      .state.data.series;
  },

  column(title, name) {
    const field = probe.frames(title)[0].fields.find((one) => one.name === name);
    const values = field.values.toArray?.() ?? field.values;
    return values
      .map((value) => field.display(value))
      .map(({ prefix = '', text, suffix = '' }) => prefix + text + suffix);
  },

  messages() {
    const all = probe.isScenes()
      ? probe
          .scenePanels()
          .map(({ state }) => [
            state.title,
            state.$data?.state.data?.errors?.[0]?.message ?? state._pluginLoadError,
          ])
      : probe
          .legacyPanels()
          .map(({ holder }) => [holder?.props.panel.title, holder?.state.errorMessage]);
    return Object.fromEntries(all.filter(([, message]) => message));
  },

  boxes: () =>
    Object.fromEntries(
      [...document.querySelectorAll('.react-grid-item')].map((item) => {
        const { left, top, width, height } = item.getBoundingClientRect();
        return [
          item.dataset.panelid ?? item.dataset.griditemKey,
          [left, top, width, height].map(Math.round),
        ];
      }),
    ),
};
