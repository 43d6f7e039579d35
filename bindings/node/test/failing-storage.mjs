// Files that cannot be written for so many milliseconds (`?for=`) once a request may have been
// sent: after the ledger's first durable store.
import { FileStorage, StorageError } from 'lazaretto/storage';

const forMs = Number(new URL(import.meta.url).searchParams.get('for'));

export function open(options) {
  const files = new FileStorage(options);
  let failsUntil;
  const store = files.store.bind(files);
  files.store = (name, ...rest) => {
    if (failsUntil !== undefined && Date.now() < failsUntil) throw new StorageError('full', 'no space, says the test');
    const outcome = store(name, ...rest);
    if (name === 'vault.lazaretto') failsUntil ??= Date.now() + forMs;
    return outcome;
  };
  return files;
}
