// A storage that refuses everything.
import { StorageError } from 'lazaretto/storage';

function refuse() {
  throw new StorageError('denied', 'not here, says the test');
}

export const open = () => ({
  load: refuse,
  store: refuse,
  acquire: refuse,
  release() {},
  holderOf: refuse,
  describe: () => ({ cas: 'emulated', reads: 'linearizable', durability: 'machine-crash', excludesForeign: true }),
});
