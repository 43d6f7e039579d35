// A value that holds a secret does not show it by accident: not when it is printed, logged or
// inspected.

import { inspect } from 'node:util';

const HIDDEN = '[redacted]';

/**
 * Makes members of a plain object secret, and returns it: whoever names one gets it, as before.
 * `console.log` and `util.inspect` show `[redacted]` instead, and `console.dir`, which asks no
 * object how it wants to be shown, shows that there is a getter.
 */
export function redact<T extends object>(value: T, ...secrets: (keyof T & string)[]): T {
  for (const name of secrets) {
    let secret = value[name];
    if (secret === undefined) continue;
    const set = (other: typeof secret) => {
      secret = other;
    };
    Object.defineProperty(value, name, { get: () => secret, set, enumerable: true, configurable: true });
  }
  return unlisted(value, inspect.custom, () => redacted(value, secrets));
}

/** Redacts members also in JSON, which loggers write. */
export function redactAlsoInJson<T extends object>(value: T, ...secrets: (keyof T & string)[]): T {
  return unlisted(redact(value, ...secrets), 'toJSON', () => redacted(value, secrets));
}

function redacted<T extends object>(value: T, secrets: (keyof T & string)[]): object {
  const isHidden = (name: string, member: unknown) => member !== undefined && (secrets as string[]).includes(name);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, isHidden(name, member) ? HIDDEN : member]));
}

function unlisted<T extends object>(value: T, name: string | symbol, act: () => object): T {
  return Object.defineProperty(value, name, { value: act, enumerable: false, configurable: true });
}
