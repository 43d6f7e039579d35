// A host that lets nothing out.
export const open = () => ({
  send: () => ({ failure: { kind: 'not-allowed', sent: 'no', message: 'not from here, says the test' } }),
});
