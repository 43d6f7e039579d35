// The page. It sends nothing: its content security policy allows no request at all.

import core from '../generated/classifier.core.wasm';
import { instantiate } from '../generated/classifier.js';
import examples from '../generated/examples.json';
import providers from '../generated/providers.json';
import { maskHeaders, maskText } from './mask.js';
import { read, readHeaders, spellHeaders, whyNoStatus } from './reading.js';
import { duration, nextTry, VERDICTS } from './words.js';

const at = (id) => document.getElementById(id);
const fields = { example: at('example'), provider: at('provider'), pasted: at('pasted'), status: at('status'), transport: at('transport'), headers: at('headers'), body: at('body') };

const module = await WebAssembly.compile(core);
const { classifier } = instantiate(() => module, {});

for (const { id, title } of examples) fields.example.add(new Option(title, id));
for (const { id, name } of providers) {
  const option = document.createElement('option');
  option.value = id;
  option.label = name ?? id;
  at('providers').append(option);
}

fields.example.addEventListener('change', () => {
  const example = examples.find(({ id }) => id === fields.example.value);
  if (example) show({ ...example, headers: Object.entries(example.headers) }, example.id);
  else show({ provider: '', headers: [], body: '' }, '');
});
fields.pasted.addEventListener('input', () => {
  const found = read(fields.pasted.value);
  fields.status.value = found.status ?? '';
  fields.headers.value = spellHeaders(found.headers);
  fields.body.value = found.body;
  fields.transport.value = found.transportError ?? '';
  fields.example.value = '';
  judge();
});
for (const name of ['provider', 'status', 'transport', 'headers', 'body']) {
  fields[name].addEventListener('input', () => {
    fields.example.value = '';
    judge();
  });
}
at('clear').addEventListener('click', () => {
  show({ provider: '', headers: [], body: '' }, '');
  fields.pasted.focus();
});
at('share').addEventListener('click', share);
addEventListener('hashchange', openLink);
openLink();
document.body.dataset.ready = 'true';

/** Puts an answer into the form. */
function show({ provider, status, headers, body, transportError }, example) {
  fields.example.value = example;
  fields.provider.value = provider;
  fields.status.value = status ?? '';
  fields.headers.value = spellHeaders(headers);
  fields.body.value = body ?? '';
  fields.transport.value = transportError ? known(transportError) : '';
  const head = status ? [`HTTP/1.1 ${status}`, ...headers.map(([name, value]) => `${name}: ${value}`), '', ''].join('\n') : '';
  fields.pasted.value = head + (body ?? '');
  judge();
}

/** Returns the kinds of failure that the form offers; the cases have some in their own words. */
function known(kind) {
  return [...fields.transport.options].some(({ value }) => value === kind) ? kind : 'timeout';
}

function answer() {
  const transportError = fields.transport.value || undefined;
  const status = Number(fields.status.value);
  return {
    provider: fields.provider.value.trim() || 'generic',
    status: !transportError && Number.isInteger(status) && status > 0 && status < 1000 ? status : undefined,
    headers: transportError ? [] : readHeaders(fields.headers.value),
    body: transportError ? '' : fields.body.value,
    bodyComplete: true,
    bodyLossy: false,
    transportError,
  };
}

function masked(given) {
  return { ...given, headers: maskHeaders(given.headers), body: maskText(given.body) };
}

function classify(given) {
  return classifier.classify(given, undefined, BigInt(Math.floor(Date.now() / 1000)));
}

function judge() {
  const given = answer();
  at('share-note').textContent = '';
  const lacksStatus = given.status === undefined && given.transportError === undefined && (given.body !== '' || given.headers.length > 0);
  at('needs-status').hidden = !lacksStatus;
  const why = lacksStatus ? whyNoStatus(fields.pasted.value) : '';
  at('needs-status').textContent = why;
  at('empty-headline').textContent = lacksStatus ? 'No answer can be seen in this.' : 'Nothing to judge yet.';
  at('empty-why').textContent = lacksStatus ? why : 'Paste an answer, or choose an example.';
  // What a paste says needs no fields; what it leaves out does. An answer that did not come can be
  // told only there.
  if (lacksStatus || given.transportError !== undefined) at('by-field').open = true;
  if (given.status === undefined && given.transportError === undefined) {
    at('result').hidden = true;
    at('empty').hidden = false;
    document.body.dataset.verdict = '';
    return;
  }
  const judgement = classify(given);
  const words = VERDICTS[judgement.verdict];
  at('empty').hidden = true;
  at('result').hidden = false;
  document.body.dataset.verdict = judgement.verdict;
  at('label').textContent = words.label;
  at('verdict').textContent = judgement.verdict;
  at('headline').textContent = words.headline;
  at('meaning').textContent = words.meaning;
  at('todo').textContent = words.todo;
  at('summary').textContent = judgement.summary;

  const rows = [...words.vault];
  if (judgement.verdict === 'transient') rows.push(['Next try', nextTry(judgement)]);
  else if (judgement.inDoubt) rows.push(['In doubt', 'The server may have replaced the token although this answer does not say so.']);
  fill(at('vault'), rows.flatMap(([term, text]) => [element('dt', term), element('dd', ...marked(text))]));

  const facts = [
    ['Rule', judgement.rule],
    ['Status', judgement.status === undefined ? 'no answer came' : String(judgement.status)],
    ['Code', judgement.code],
    ['Provider’s own code', judgement.subCode],
    ['Wait asked for', judgement.retryAfterS === undefined ? undefined : duration(Number(judgement.retryAfterS))],
    ['May have rotated', judgement.inDoubt ? 'yes' : undefined],
  ].filter(([, value]) => value !== undefined);
  fill(at('facts'), facts.flatMap(([term, value]) => [element('dt', term), element('dd', maskText(value))]));

  fill(at('steps'), judgement.steps.map((step, index) => {
    const item = element('li', element('strong', step.name), ' ', element('span', step.finding));
    if (step.finding === 'decides nothing') item.className = 'silent';
    else if (index === judgement.steps.length - 1) item.className = 'decided';
    return item;
  }));

  const shown = masked(given);
  at('shown').textContent = given.transportError
    ? `(no answer: ${given.transportError})`
    : [`HTTP ${given.status}`, ...shown.headers.map(([name, value]) => `${name}: ${value}`), '', shown.body || '(empty)'].join('\n');
  const example = examples.find(({ id }) => id === fields.example.value);
  at('source').hidden = !example;
  if (example) {
    const isLink = /^https:\/\//.test(example.source ?? '');
    fill(at('source'), ['This answer was seen: ', isLink ? link(example.source) : example.source ?? 'in the repository’s tests', '.']);
  }
}

/**
 * Puts the answer into the address, without what looks like a secret. The part after # is never
 * sent to any server.
 */
async function share() {
  const given = answer();
  const shown = masked(given);
  const { provider, status, headers, body, transportError } = shown;
  const text = JSON.stringify({ p: provider, s: status, h: headers, b: body.slice(0, 8000), t: transportError });
  history.replaceState(null, '', `#a=${toBase64Url(text)}`);
  const notes = ['The link is in the address bar'];
  try {
    await navigator.clipboard.writeText(location.href);
    notes[0] += ' and on the clipboard';
  } catch {}
  notes[0] += '. It holds the answer with what looks like a secret taken out: look at “What is shown and shared” before you send it.';
  if (classify(given).verdict !== classify(shown).verdict) notes.push('Without it the verdict is another one.');
  at('share-note').textContent = notes.join(' ');
  at('shown').parentElement.open = true;
}

function openLink() {
  const found = /^#a=([A-Za-z0-9_-]+)$/.exec(location.hash);
  if (!found) return judge();
  try {
    const { p, s, h, b, t } = JSON.parse(fromBase64Url(found[1]));
    const headers = Array.isArray(h) ? h.map(([name, value]) => [String(name), String(value)]) : [];
    show({ provider: String(p ?? ''), status: Number(s) || undefined, headers, body: String(b ?? ''), transportError: t && String(t) }, '');
  } catch {
    judge();
    at('share-note').textContent = 'This link cannot be read: it was cut, or is not one of ours.';
  }
}

function toBase64Url(text) {
  const bytes = new TextEncoder().encode(text);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

function fromBase64Url(text) {
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
  return new TextDecoder().decode(bytes);
}

/** Text in which `what stands so` is a command. */
function marked(text) {
  return text.split('`').map((part, index) => (index % 2 === 1 ? element('code', part) : part));
}

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

function link(href) {
  const made = element('a', href.replace(/^https:\/\//, ''));
  made.href = href;
  made.rel = 'noreferrer noopener';
  return made;
}

function fill(parent, children) {
  parent.replaceChildren(...children);
}
