/** Whether a text calls somebody by `@name`: the whole name, in any case, and not within an address. Pure. */
export function mentions(text: string, username: string): boolean {
  const needle = `@${username.toLowerCase()}`;
  const lower = text.toLowerCase();
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, at + 1)) {
    const after = lower.slice(at + needle.length);
    // A full stop or a dash belongs to the name only if the name goes on after it.
    if (!isWord(lower.charAt(at - 1)) && !/^[.-]*[\p{L}\p{N}_]/u.test(after)) return true;
  }
  return false;
}

function isWord(char: string): boolean {
  return char !== '' && /[\p{L}\p{N}_]/u.test(char);
}
