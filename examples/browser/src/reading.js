// Reads an answer out of whatever a person has at hand: `curl -i` or `curl -v` output, a HAR file
// or one entry of it, or a bare body.

/** Status, headers and body, as far as they can be told. */
export function read(text) {
  const trimmed = text.trim();
  if (trimmed === '') return { status: undefined, headers: [], body: '' };
  return har(trimmed) ?? message(trimmed) ?? { status: undefined, headers: [], body: trimmed };
}

/**
 * Returns why no status can be seen in a text. It is taken as a body, which says nothing without
 * one.
 */
export function whyNoStatus(text) {
  if (/^(> ?)?[A-Z]+ \S+ HTTP\//m.test(text)) return 'This holds a request and no answer: curl -v prints the answer in lines that begin with <.';
  if (/^curl: \(\d+\)/m.test(text)) return 'curl got no answer. Say below what happened, under “Or no answer”.';
  if (/^\s*\{/.test(text) && /"(log|entries|startedDateTime)"\s*:/.test(text)) return 'This looks like a HAR file, and no answer can be read in it: it is cut, or its entries have no response.';
  return 'There is no status line in this, such as HTTP/1.1 400. If it is the body of an answer, say its HTTP status below.';
}

/** Returns a HAR file: the last answer of a token endpoint in it, or simply the last one. */
function har(text) {
  if (!text.startsWith('{')) return undefined;
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const entries = value?.log?.entries ?? (value?.response ? [value] : []);
  const isToken = (entry) => /token/i.test(entry?.request?.url ?? '');
  const entry = entries.findLast(isToken) ?? entries.at(-1);
  const response = entry?.response;
  if (!response || typeof response.status !== 'number') return undefined;
  const { text: body = '', encoding } = response.content ?? {};
  return {
    // Status 0 is how a browser writes down that no answer came.
    status: response.status || undefined,
    headers: (response.headers ?? []).map(({ name, value }) => [String(name).toLowerCase(), String(value)]),
    body: encoding === 'base64' ? fromBase64(body) : body,
    transportError: response.status === 0 ? 'reset' : undefined,
  };
}

function fromBase64(text) {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
  } catch {
    return text;
  }
}

/**
 * `curl -i`, `curl -v`, or a message as it stands on the wire. Of several answers (a proxy's, 100
 * Continue) the last counts.
 */
function message(text) {
  const isVerbose = /^[*<>{}] ?/m.test(text) && /^< ?HTTP\//m.test(text);
  // In `curl -v` headers begin with `< `, remarks with `* `, the request with `> `; the body with
  // nothing.
  const lines = text
    .split(/\r?\n/)
    .filter((line) => !isVerbose || !/^([*>]|[{}] \[)/.test(line))
    .map((line) => (isVerbose ? line.replace(/^< ?/, '') : line));
  let found;
  for (let at = 0; at < lines.length; at += 1) {
    const head = /^HTTP\/[0-9.]+\s+([0-9]{3})\b/.exec(lines[at]);
    if (!head) continue;
    const headers = [];
    let next = at + 1;
    for (; next < lines.length && lines[next].trim() !== ''; next += 1) {
      const header = /^([^\s:]+):\s*(.*)$/.exec(lines[next]);
      if (!header) break;
      headers.push([header[1].toLowerCase(), header[2].trim()]);
    }
    found = { status: Number(head[1]), headers, body: lines.slice(next).join('\n').trim() };
    at = next - 1;
  }
  return found;
}

/** Headers as they stand in a text field. */
export function readHeaders(text) {
  return text
    .split(/\r?\n/)
    .map((line) => /^\s*([^\s:]+):\s*(.*)$/.exec(line))
    .filter(Boolean)
    .map(([, name, value]) => [name.toLowerCase(), value.trim()]);
}

export function spellHeaders(headers) {
  return headers.map(([name, value]) => `${name}: ${value}`).join('\n');
}
