// The dashboard's variables with the values that the page really has, as [{ name, label, text }],
// without those that it hides; null where the front-end does not tell.
() => {
  'use strict';

  const ENTIRELY_HIDDEN = 2;
  // Some front-ends join several texts with " + ", which may also stand in one of them.
  const several = (text, value) =>
    typeof text === 'string' && text !== 'All' && Array.isArray(value) && value.length > 1;
  const shown = (text, value) =>
    [several(text, value) ? value : (text ?? value ?? '')]
      .flat()
      .map((item) => (item === '$__all' ? 'All' : String(item ?? '')))
      .join(', ')
      .slice(0, 1000);
  const filters = (list) =>
    list.map(({ key, operator, value }) => `${key} ${operator} ${value}`).join(', ');
  const told = (name, label, text) => ({
    name: panels.text(name),
    label: panels.text(label) || panels.text(name),
    text,
  });

  try {
    const scene = panels.scene();
    if (scene) {
      const list = scene.state.$variables?.state?.variables;
      return (list || [])
        .filter((variable) => variable.state.hide !== ENTIRELY_HIDDEN)
        .map(({ state }) =>
          told(
            state.name,
            state.label,
            Array.isArray(state.filters)
              ? filters(state.filters)
              : shown(state.text, state.value),
          ),
        );
    }
    const list = window.grafanaRuntime?.getDashboardSaveModel?.()?.templating?.list;
    return Array.isArray(list)
      ? list
          .filter((variable) => variable.hide !== ENTIRELY_HIDDEN)
          .map((variable) =>
            told(
              variable.name,
              variable.label,
              Array.isArray(variable.filters)
                ? filters(variable.filters)
                : shown(variable.current?.text, variable.current?.value ?? variable.query),
            ),
          )
      : null;
  } catch (error) {
    return null;
  }
};
