// A component that takes the vault's lock and then wants memory without end, in JavaScript: as one
// does that hands its host endless lists.
export function instantiate(_modules, imports) {
  const token = () => {
    imports['lazaretto:keeper/storage'].acquire({ tag: 'document', val: 'vault' }, 1000n, 0n);
    for (const held = []; ; ) held.push(new Array(1_000_000).fill(held.length));
  };
  return { keeper: { token }, pool: {}, classifier: {} };
}
