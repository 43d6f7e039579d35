// The closed sets of the contract, as jco writes them from the WIT: none is spelled here by hand.

export type { Verdict } from '../generated/interfaces/lazaretto-keeper-classifier.js';
export type { FailureKind, Reach, Sent } from '../generated/interfaces/lazaretto-keeper-http.js';
export type { Advised } from '../generated/interfaces/lazaretto-keeper-pool.js';
export type { Cas, Durability, Reads } from '../generated/interfaces/lazaretto-keeper-storage.js';
export type {
  Action,
  CredentialKind,
  Origin,
  Picked,
  Renewal,
  Severity,
  Usable,
} from '../generated/interfaces/lazaretto-keeper-types.js';
