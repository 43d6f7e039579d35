// Whoever wants to know who holds a lock does not touch it.
//
// `flock` can be asked only by trying, and a try that succeeds keeps others out, if only for an
// instant. So whoever holds a lock of ours with `flock` also holds a lock of its open file
// (`F_OFD_SETLK`) on the first byte. That one excludes nobody, since nobody waits for it, and
// whether it is held can be asked without taking anything (`F_OFD_GETLK`). Both end with their
// holder.

import type { Holder } from './contract.js';
import { holderOf, isOfALivingProcessHere, readHint } from './holder.js';
import { isSeen, setSeen } from './libc.js';

/** Lets others see that the lock is held. Where that cannot be done, they go by the hint. */
export function show(fd: number): void {
  setSeen(fd, true);
}

/** The lock is about to be let go. */
export function hide(fd: number): void {
  setSeen(fd, false);
}

/** Returns who holds the lock for `grant`, if it is one on grants. None if nobody does. */
export function holderAt(fd: number, grant: string | undefined): Holder | undefined {
  // Between two holders there is no hint, and between a holder's last steps too.
  for (let looks = 0; looks < 3; looks += 1) {
    const isHeld = isSeen(fd);
    const hint = readHint(fd);
    if (!(isHeld ?? (hint !== undefined && isOfALivingProcessHere(hint)))) return undefined;
    if (hint) return hint.grant === undefined || grant === undefined || hint.grant === grant ? holderOf(hint) : undefined;
  }
  return { name: '' };
}
