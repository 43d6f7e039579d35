// A component that takes a lock and then computes without end, in WebAssembly: what the main thread
// must be able to stop.

// (module (func (export "spin") (loop br 0)))
const SPIN = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 115, 112, 105, 110, 0, 0, 10, 9, 1, 7, 0, 3, 64, 12, 0, 11, 11,
]);

export function instantiate(_modules, imports) {
  const token = () => {
    const storage = imports['lazaretto:keeper/storage'];
    for (let byte = 0; byte < 64; byte += 1) {
      const fingerprint = byte.toString(16).padStart(2, '0').padEnd(32, '0');
      storage.acquire({ tag: 'grant', val: { document: 'vault', fingerprint } }, 1000n, 0n);
    }
    storage.acquire({ tag: 'document', val: 'vault' }, 1000n, 0n);
    new WebAssembly.Instance(new WebAssembly.Module(SPIN)).exports.spin();
  };
  return { keeper: { token }, pool: {}, classifier: {} };
}
