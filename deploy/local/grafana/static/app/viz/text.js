// Text: a subset of markdown, or HTML as it stands where the server does not sanitise it.

import { el } from '../dom.js';

export function draw(host, { options, interpolate, settings }) {
  const content = interpolate(options.content ?? '');
  const box = el('div', { class: 'markdown-html', 'data-testid': 'TextPanel-converted-content' });
  if (options.mode === 'html' && settings.disableSanitizeHtml) box.innerHTML = content;
  else if (options.mode === 'code') box.append(el('pre', {}, content));
  else if (options.mode === 'html') box.textContent = content;
  else box.append(...markdown(content));
  host.append(box);
}

function markdown(source) {
  return source.split(/\n{2,}/).map((block) => blockOf(block.trim()));
}

function blockOf(block) {
  const heading = /^(#{1,4}) (.*)$/.exec(block);
  if (heading) return el(`h${heading[1].length}`, {}, inline(heading[2]));
  const lines = block.split('\n');
  if (lines.every((line) => /^[-*] /.test(line))) {
    return el(
      'ul',
      {},
      lines.map((line) => el('li', {}, inline(line.slice(2)))),
    );
  }
  if (lines.every((line) => /^\d+\. /.test(line))) {
    return el(
      'ol',
      {},
      lines.map((line) => el('li', {}, inline(line.replace(/^\d+\. /, '')))),
    );
  }
  return el('p', {}, inline(lines.join(' ')));
}

function inline(text) {
  const pattern = /\*\*(.+?)\*\*|`(.+?)`|\[(.+?)\]\((https?:\/\/[^)\s]+)\)|\*(.+?)\*/g;
  const made = [];
  let done = 0;
  for (const match of text.matchAll(pattern)) {
    const [whole, bold, code, label, link, italic] = match;
    made.push(text.slice(done, match.index));
    if (bold) made.push(el('strong', {}, bold));
    else if (code) made.push(el('code', {}, code));
    else if (link) made.push(el('a', { href: link, rel: 'noreferrer' }, label));
    else made.push(el('em', {}, italic));
    done = match.index + whole.length;
  }
  return [...made, text.slice(done)];
}
