/** What a person can mend; the message says what was found and what to do. */
export class Unusable extends Error {}
