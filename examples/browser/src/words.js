// What a verdict means for a person, and what lazaretto does with the vault. It follows
// docs/protocol.md; nothing here decides anything.

export const VERDICTS = {
  refreshed: {
    label: 'Refreshed',
    headline: 'Nobody was logged out: the refresh worked.',
    meaning: 'The answer carries a usable access token.',
    vault: [
      ['Kept', 'Everything that the answer does not replace, byte for byte.'],
      ['Stored', 'The new access token, and the new refresh token if one came, in every place of the vault that held the old one, in one write.'],
      ['Noted', 'The old refresh token is spent. It is never sent again, also if another program puts it back.'],
      ['Next try', 'When the new access token is about to expire.'],
    ],
    todo: 'Nothing.',
  },
  terminal: {
    label: 'Logged out',
    headline: 'This login is over. A person must log in again.',
    meaning: 'The server says that this refresh token will never work again. Sending it once more could only do harm: many servers end every login of the account that way.',
    vault: [
      ['Cleared', 'The dead tokens, in every place of the vault that held them. All else stays as it is: other logins, keys, unknown fields, spacing.'],
      ['Sealed', 'A copy of them, unused, for 7 days. Should the server have been wrong, `lazaretto unquarantine` puts it back.'],
      ['Noted', 'That this token is dead, and why. It is not sent again, not by the process next door, not if somebody copies it back.'],
      ['Still served', 'The access token, until it expires, unless an API has refused it.'],
      ['Next try', 'None.'],
    ],
    todo: 'Log in again.',
  },
  interaction: {
    label: 'Needs you',
    headline: 'You are not logged out. The provider wants you to do something first.',
    meaning: 'A consent, a second factor or a new sign-in is wanted. The refresh token may well be alive, so deleting it would be a mistake.',
    vault: [
      ['Kept', 'Everything. The vault is not touched.'],
      ['Still served', 'The access token, until it expires.'],
      ['Next try', 'Not by itself: after a new login, or once you say `lazaretto reset`.'],
    ],
    todo: 'Sign in at the provider and do what it asks for; log in again if it does not help.',
  },
  config: {
    label: 'Set up wrongly',
    headline: 'You are not logged out. Something is set up wrongly.',
    meaning: 'The client, the request or the account’s plan is at fault. Logging in again would not help, and the refresh token may well be alive.',
    vault: [
      ['Kept', 'Everything. The vault is not touched.'],
      ['Still served', 'The access token, until it expires.'],
      ['Next try', 'When the client id, the profile or the token has changed, or once you say `lazaretto reset`. Until then nothing is sent.'],
    ],
    todo: 'Have whoever runs the client or the account correct it.',
  },
  transient: {
    label: 'Try later',
    headline: 'You are not logged out. It will pass.',
    meaning: 'The answer says nothing about the token: the server, the network or something in between has a bad moment.',
    vault: [
      ['Kept', 'Everything. The vault is not touched.'],
      ['Still served', 'The access token, until it expires.'],
    ],
    todo: 'Nothing. If a program logged you out over this, that is a mistake of the program.',
  },
  unknown: {
    label: 'Cannot tell',
    headline: 'It cannot be told, so you stay logged in.',
    meaning: 'Nothing in the answer is proof that the token is dead. A live token that is deleted is lost; a dead one that is kept costs a few requests.',
    vault: [
      ['Kept', 'Everything. The vault is not touched.'],
      ['Still served', 'The access token, until it expires.'],
      ['Next try', 'A few times, further and further apart; then it is parked until you say `lazaretto reset`.'],
    ],
    todo: 'Look at the answer: who sent it? If it goes on, log in again.',
  },
};

/** Returns when it is tried again, for a verdict that will pass. */
export function nextTry({ retryAfterS, inDoubt }) {
  const wait =
    retryAfterS === undefined
      ? 'After a pause that grows with each failure, with some chance in it so that not everybody comes back at once.'
      : `Not before ${duration(Number(retryAfterS))} have passed: the server asked for that.`;
  return inDoubt
    ? `The server may have replaced the token although this answer does not say so. The same token is sent once more where the provider allows for that. Otherwise: ${wait[0].toLowerCase()}${wait.slice(1)}`
    : wait;
}

/** Returns a number of seconds as a person says it. */
export function duration(seconds) {
  for (const [unit, length] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (seconds >= 2 * length) return `${Math.round(seconds / length)} ${unit}s`;
  }
  return seconds === 1 ? '1 second' : `${seconds} seconds`;
}
