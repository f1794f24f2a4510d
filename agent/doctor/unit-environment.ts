// The environment that systemd gives a unit, out of its file, its drop-ins and its environment files, each variable with the
// file that sets it. Later ones win; an empty assignment takes back all before it (systemd.exec(5), systemd.syntax(7)).

export interface UnitFile {
  readonly path: string;
  readonly text: string;
}

export interface Variable {
  readonly value: string;
  /** The file that sets it. */
  readonly path: string;
}

export interface UnitSettings {
  readonly variables: ReadonlyMap<string, Variable>;
  /** Absolute paths; those of them that begin with `-` may be missing, which makes no difference here. */
  readonly environmentFiles: readonly string[];
}

/** The unit's file first, then its drop-ins in the order of their names. */
export function parseUnit(files: readonly UnitFile[]): UnitSettings {
  const variables = new Map<string, Variable>();
  let environmentFiles: string[] = [];
  for (const { path, text } of files) {
    for (const [name, value] of serviceSettings(text)) {
      if (name === 'Environment') {
        if (value === '') variables.clear();
        for (const word of splitWords(value)) assign(variables, word, path);
      }
      if (name === 'EnvironmentFile')
        environmentFiles = value === '' ? [] : [...environmentFiles, value.replace(/^-/, '')];
      if (name === 'UnsetEnvironment') for (const word of splitWords(value)) variables.delete(word);
    }
  }
  return { variables, environmentFiles };
}

/** What a file of KEY=VALUE lines sets, over what the unit itself does. */
export function addEnvironmentFile(
  before: ReadonlyMap<string, Variable>,
  { path, text }: UnitFile,
): ReadonlyMap<string, Variable> {
  const variables = new Map(before);
  for (const line of joinLines(text)) {
    const [, name, value = ''] = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined) variables.set(name, { value: value.replace(/^(["'])(.*)\1$/, '$2'), path });
  }
  return variables;
}

function* serviceSettings(text: string): Generator<readonly [string, string]> {
  let section = '';
  for (const line of joinLines(text)) {
    const [, header] = /^\s*\[(.+)\]\s*$/.exec(line) ?? [];
    if (header !== undefined) section = header;
    const [, name, value = ''] = /^\s*(\w+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined && section === 'Service') yield [name, value];
  }
}

/** A backslash at the end of a line joins it with the next; comments and empty lines do not count. */
function joinLines(text: string): readonly string[] {
  const lines = text.split('\n').filter((line) => !/^\s*[#;]/.test(line));
  return lines.join('\n').replaceAll(/\\\n/g, ' ').split('\n');
}

function assign(variables: Map<string, Variable>, word: string, path: string): void {
  const at = word.indexOf('=');
  if (at > 0) variables.set(word.slice(0, at), { value: word.slice(at + 1), path });
}

/** Quotes hold blanks together, around a whole assignment or around its value. */
function splitWords(value: string): readonly string[] {
  const words = value.match(/(?:"(?:\\.|[^"\\])*"|'[^']*'|[^\s"'])+/g) ?? [];
  return words.map((word) =>
    word.replaceAll(/"((?:\\.|[^"\\])*)"|'([^']*)'/g, (_, double?: string, single?: string) =>
      double === undefined ? (single ?? '') : double.replaceAll(/\\(.)/g, '$1'),
    ),
  );
}
