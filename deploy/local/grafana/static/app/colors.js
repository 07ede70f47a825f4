// Colours of series, thresholds and chrome, for either theme.

export const PALETTE = [
  '#3b82d6', '#e58a2c', '#2fa36b', '#c2509a', '#8266d6', '#d4b021', '#1fa5b8', '#d65145', '#7a9a2e', '#b07a4a',
]; // prettier-ignore

const NAMED = {
  green: '#2fa36b',
  'dark-green': '#1f7a4e',
  blue: '#3b82d6',
  'dark-blue': '#2a63ad',
  'light-blue': '#7fb2ec',
  orange: '#e58a2c',
  yellow: '#d4b021',
  red: '#d65145',
  'dark-red': '#ab362c',
  purple: '#8266d6',
  pink: '#c2509a',
  teal: '#1fa5b8',
};

export function color(name, isLight) {
  if (name === 'text') return isLight ? '#24292e' : '#d5d8de';
  if (name === 'transparent') return 'transparent';
  return NAMED[name] ?? name ?? PALETTE[0];
}

export function alpha(hex, share) {
  const value = Math.round(Math.min(Math.max(share, 0), 1) * 255);
  return /^#[0-9a-f]{6}$/i.test(hex) ? hex + value.toString(16).padStart(2, '0') : hex;
}

// The colour of a value in a field: by threshold, fixed, or by the field's place in the palette.
export function fieldColor(config, value, index, isLight) {
  const mode = config.color?.mode ?? 'thresholds';
  if (mode === 'fixed') return color(config.color.fixedColor, isLight);
  if (mode === 'palette-classic') return PALETTE[index % PALETTE.length];
  return color(stepOf(config, value)?.color ?? 'green', isLight);
}

export function stepOf(config, value) {
  const steps = config.thresholds?.steps ?? [{ color: 'green', value: null }];
  const share = config.thresholds?.mode === 'percentage';
  const [low, high] = [config.min ?? 0, config.max ?? 100];
  const at = share ? ((value - low) / (high - low)) * 100 : value;
  return steps
    .filter((step) => step.value === null || step.value === undefined || at >= step.value)
    .at(-1);
}

export function theme(isLight) {
  return isLight
    ? {
        isLight,
        text: '#24292e',
        weak: '#6a737d',
        grid: '#e7e9ec',
        track: '#eceef1',
        panel: '#ffffff',
      }
    : {
        isLight,
        text: '#d5d8de',
        weak: '#8b93a1',
        grid: '#272b33',
        track: '#262a32',
        panel: '#191c22',
      };
}
