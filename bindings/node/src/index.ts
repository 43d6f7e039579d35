/// <reference types="node" preserve="true" />
// lazaretto keeps the OAuth credentials of agents, command-line tools and plugin hosts alive, and
// stops dead ones from being used again.
//
// | file | what is in it |
// |---|---|
// | `keeper` | the API |
// | `classify` | what a token endpoint's answer means, without a keeper |
// | `errors`, `types` | what goes in and comes out |
// | `pool`, `worker`, `guest-time` | a bounded number of threads, one call each, and what stops a guest that computes without end |
// | `component`, `world`, `calls` | the component, its imports, its calls |
// | `http/` | one attempt at one exchange |
// | `storage/` | documents in files, by the rules of docs/file-store.md |

export { classify, type ClassifyOptions } from './classify.js';
export {
  ConfigurationNeeded,
  InspectionNeeded,
  LazarettoError,
  LoginNeeded,
  RetryLater,
  UsageError,
  type Action,
  type ErrorFields,
} from './errors.js';
export { Keeper, type KeeperOptions } from './keeper.js';
export type * from './types.js';
