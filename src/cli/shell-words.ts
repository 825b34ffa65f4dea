/** What a terminal would obey or show elsewhere: all that is no newline and no tab among the control characters. */
const commands = /[\u0001-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * One word for a POSIX shell: as it is where nothing in it means anything to a shell, else in single quotes. What a terminal
 * would take for a command is written by printf, so that a line can be looked at (S28) and run.
 */
export function shellWord(text: string): string {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  const quoted = text.replaceAll("'", "'\\''");
  return `'${quoted.replace(commands, (letter) => `'"$(printf '${octal(letter)}')"'`)}'`;
}

function octal(letter: string): string {
  return [...Buffer.from(letter)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}
