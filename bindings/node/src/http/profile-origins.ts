// Which origins the profiles name is computed here, by the host: a component that was exchanged
// cannot name others.
//
// A profile is laid over others as the component does it (`src/provider.rs` in the repository), and
// only what matters for an address is read. What the component refuses for another reason still
// names its origins here: the user's own file named them. A test holds both lists equal.

import { readFileSync } from 'node:fs';

/** As they are in `src/provider/providers.json` of the repository. */
const BUILT_IN = new URL('../../generated/providers.json', import.meta.url);
/** Under every profile; it names no provider itself. */
const GENERIC = 'generic';
/** How far profiles may extend each other. */
const MAX_LAYERS = 8;

type Profiles = Record<string, unknown>;
type Layer = Record<string, unknown>;

/**
 * Returns the origins that a refresh may be sent to: `scheme://host:port`, sorted. `user` is the
 * text of the user's file, if there is one.
 */
export function originsOf(user: string | undefined): string[] {
  const files = [profilesIn(user ?? '{"profiles":{}}'), profilesIn(readFileSync(BUILT_IN, 'utf8'))];
  const named = new Set<string>();
  for (const id of new Set(files.flatMap((profiles) => Object.keys(profiles)))) {
    const layers: Layer[] = [];
    if (id === GENERIC || !pileUp(files, id, layers)) continue;
    for (const origin of namedBy(layers) ?? []) named.add(origin);
  }
  return [...named].sort();
}

function profilesIn(text: string): Profiles {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error('providers.json is no JSON');
  }
  const profiles = isObject(file) && Object.hasOwn(file, 'profiles') ? file.profiles : undefined;
  if (!isObject(profiles)) throw new Error('providers.json: `profiles` is no object');
  return profiles;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Returns what a profile is made of, the top first. False: it extends itself, or what there is not.
 */
function pileUp(files: Profiles[], id: string, layers: Layer[]): boolean {
  const own = files.filter((profiles) => Object.hasOwn(profiles, id)).map((profiles) => profiles[id]);
  if (own.length === 0 || layers.length > MAX_LAYERS || !own.every(isObject)) return false;
  const base = own[0] && Object.hasOwn(own[0], 'extends') ? own[0].extends : undefined;
  // A profile that extends another one is not also the built-in one of its name.
  layers.push(...(typeof base === 'string' ? own.slice(0, 1) : own));
  const under = typeof base === 'string' ? base : GENERIC;
  return (under === GENERIC && id === GENERIC) || pileUp(files, under, layers);
}

/**
 * Returns the origins of one profile. None: one of its addresses is none that may be sent to, so it
 * can do nothing.
 */
function namedBy(layers: Layer[]): string[] | undefined {
  const endpoint = first(layers, 'token_endpoint') ?? '';
  // Who names an endpoint means that one, whatever a profile underneath says of its origins.
  const depth = layers.findIndex((layer) => Object.hasOwn(layer, 'token_endpoint'));
  const more = first(depth < 0 ? layers : layers.slice(0, depth + 1), 'origins') ?? [];
  if (!Array.isArray(more)) return undefined;
  const named = [...more, ...(endpoint === '' ? [] : [endpoint])].map(origin);
  return named.every((one) => one !== undefined) ? named : undefined;
}

/** Returns a member, from the first layer that has it; null hides it. */
function first(layers: Layer[], name: string): unknown {
  return layers.find((layer) => Object.hasOwn(layer, name))?.[name];
}

/** `scheme://host:port` of a URL that may be sent to, as the component spells it. */
function origin(url: unknown): string | undefined {
  if (typeof url !== 'string') return undefined;
  const [, scheme, rest] = /^(.*?):\/\/(.*)$/s.exec(url)?.map(lower) ?? [];
  if (scheme !== 'https' && scheme !== 'http') return undefined;
  const authority = rest?.split(/[/?#]/, 1)[0] ?? '';
  if (!/^[0-9a-z._~:[\]-]+$/.test(authority)) return undefined;
  const at = authority.lastIndexOf(':');
  const isNamed = at >= 0 && !authority.endsWith(']');
  const host = isNamed ? authority.slice(0, at) : authority;
  const port = isNamed ? authority.slice(at + 1) : scheme === 'https' ? '443' : '80';
  if (host === '' || !/^[0-9]{1,20}$/.test(port) || Number(port) > 65_535) return undefined;
  return scheme === 'https' || isLoopback(host) ? `${scheme}://${host}:${Number(port)}` : undefined;
}

/** ASCII alone: other letters have no place in an address, and must not become ones that have. */
function lower(text: string): string {
  return text.replace(/[A-Z]+/g, (found) => found.toLowerCase());
}

function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '[::1]') return true;
  const octets = host.split('.');
  return octets.length === 4 && octets.every((octet) => /^[0-9]{1,20}$/.test(octet) && Number(octet) <= 255) && Number(octets[0]) === 127;
}
