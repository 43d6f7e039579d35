// Takes out of a text what looks like a secret, so that it can be shown on a screen or put into a
// link. In doubt it is taken out: a verdict hardly ever depends on it, and the page says so if it
// does.

const MASK = '[masked]';
/** Members, fields and headers whose values are secrets whatever they look like. */
const SECRET_NAME = /^(?:.*(?:token|secret|password|passwd|assertion|cookie|credential|session[-_]?id|api[-_]?key).*|authorization|proxy-authorization|code|sid|jwt)$/i;
/** Names that only sound so. Their values are what a verdict rests on. */
const HARMLESS_NAME = /^(?:token_type|tokentype|expires_in|refresh_token_expires_in|refresh_expires_in|token_endpoint|tokenexpiresin|token_expires_at|error|error_code|error_codes|code)$/i;

export function maskText(text) {
  return text
    // "name": "value", and escaped inside of another string
    .replace(/(\\?")([A-Za-z0-9_.-]{1,64})(\\?"\s*:\s*\\?")((?:[^"\\]|\\(?!").)*)/g, (whole, open, name, middle, value) =>
      isSecret(name) && value !== '' && !isWord(value) ? `${open}${name}${middle}${MASK}` : whole,
    )
    // name=value, in forms and in queries
    .replace(/(^|[?&\s;,])([A-Za-z0-9_.-]{1,64})=([^&\s;,"]+)/g, (whole, before, name, value) =>
      isSecret(name) && !isWord(value) ? `${before}${name}=${MASK}` : whole,
    )
    .replace(/\b(Bearer|Basic|DPoP)\s+[A-Za-z0-9._~+/=-]{8,}/gi, `$1 ${MASK}`)
    // JSON web tokens
    .replace(/\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}/g, MASK)
    // the prefixes that servers give their tokens
    .replace(/\b(?:gh[opusr]|github_pat|glpat|xox[a-z]|sk|rt|at|ya29|1\/\/0|EAA[A-Za-z]|sess|ory_[ar]t|secret)[-_./][A-Za-z0-9._~+/=-]{10,}/g, MASK)
    // long and without a word in it
    .replace(/[A-Za-z0-9_~+/=-]{24,}/g, (run) => (looksRandom(run) ? MASK : run))
    .replace(/\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b/g, MASK);
}

export function maskHeaders(headers) {
  return headers.map(([name, value]) => [name, isSecret(name) ? MASK : maskText(value)]);
}

function isSecret(name) {
  return SECRET_NAME.test(name) && !HARMLESS_NAME.test(name);
}

/** `invalid_grant`, `true`: a word of a protocol, under whatever name. */
function isWord(value) {
  return /^[a-z]+(?:[_ ][a-z]+){0,6}$/.test(value) && value.length < 48;
}

function looksRandom(run) {
  if (/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(run)) return false;
  const kinds = [/[a-z]/, /[A-Z]/, /[0-9]/].filter((kind) => kind.test(run)).length;
  const isSpelled = /^[A-Za-z]+(?:[_/=-][A-Za-z]+)*$/.test(run);
  return kinds >= 2 && !isSpelled && /[0-9]/.test(run);
}
