// An app plugin that asks to be preloaded: a capture saves this request by switching preload off in
// the boot data.
window.__standInAppPreloaded = true;
export const plugin = {};
