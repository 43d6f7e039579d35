// Files that cannot be written once a request may have been sent: after the ledger's first store.
// With `?until=kept` that ends after the new tokens were kept elsewhere and one more store failed.
import { FileStorage, StorageError } from 'lazaretto/storage';

const isUntilKept = new URL(import.meta.url).searchParams.get('until') === 'kept';

export function open(options) {
  const files = new FileStorage(options);
  const store = files.store.bind(files);
  const keepUnsaved = files.keepUnsaved.bind(files);
  let failing = 0;
  let hasBegun = false;
  files.store = (name, ...rest) => {
    if (failing > 0) {
      failing -= 1;
      throw new StorageError('full', 'no space, says the test');
    }
    const outcome = store(name, ...rest);
    if (name === 'vault.lazaretto' && !hasBegun) {
      hasBegun = true;
      failing = Infinity;
    }
    return outcome;
  };
  files.keepUnsaved = (unsaved) => {
    if (isUntilKept) failing = 1;
    keepUnsaved(unsaved);
  };
  return files;
}
