// What a worker opens its storage with, unless the keeper was given another module.

import type { Storage } from './contract.js';
import { FileStorage, type FileStorageOptions } from './file-storage.js';

export function open(options: FileStorageOptions): Storage {
  return new FileStorage(options);
}
